"""Encoders and decoders between samples and codes, chosen by `kind` in the configs of families.

An encoder's `forward(inputs, context)` maps inputs (B, D, K), K values per feature of a sample, and context (B, C) or
None to (B, outputs). A decoder's `forward(z, context)` maps codes (B, L) to P likelihood parameters per feature of a
sample, (B, D, P).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field as Described
from pydantic import SerializeAsAny
from torch import Tensor, nn

from ..config import Config, Width
from ..errors import ConfigError
from ..registry import ByKind, Registry
from ..spaces import Space, size
from .conv import CONVOLUTIONS, DownsamplingPath, Stride, UpsamplingPath, as_field, from_channels, pyramid, to_channels
from .mlp import MLP


class CoderConfig(Config):
    """Base of the config of every pair of an encoder and a decoder; a subclass adds `kind: Literal[...]` and its keys.

    Attributes:
        summary: one line for listings.

    >>> from maquette.core.spaces import Vector
    >>> coder: CoderConfig = coders.get("mlp")(hidden=(16,))
    >>> coder.encoder(Vector(dim=5), embed_dim=1, context_features=0, outputs=2)(torch.zeros(4, 5, 1), None).shape
    torch.Size([4, 2])
    """

    summary: ClassVar[str]

    @abstractmethod
    def encoder(self, space: Space, embed_dim: int, context_features: int, outputs: int) -> nn.Module:
        """Return the encoder of samples of `space` with `embed_dim` values per feature; raises `ConfigError`."""

    @abstractmethod
    def decoder(self, space: Space, inputs: int, context_features: int, parameters: int) -> nn.Module:
        """Return the decoder of codes (B, inputs) to `parameters` per feature of a sample; raises `ConfigError`."""


coders: Registry[type[CoderConfig]] = Registry("coder", package=__package__, group="maquette.coders")

AnyCoder = Annotated[SerializeAsAny[CoderConfig], ByKind(coders)]
"""Field type of a config that holds the config of an encoder and a decoder."""


def _with_context(x: Tensor, context: Tensor | None) -> Tensor:
    return x if context is None else torch.cat((x, context), dim=1)


class MLPEncoder(nn.Module):
    """An MLP of the flattened sample and its context.

    >>> MLPEncoder(inputs=8, hidden=(16,), outputs=2)(torch.zeros(3, 5, 1), torch.zeros(3, 3)).shape
    torch.Size([3, 2])
    """

    def __init__(self, inputs: int, hidden: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.net = MLP(inputs, hidden, outputs)

    def forward(self, inputs: Tensor, context: Tensor | None) -> Tensor:
        """Inputs (B, D, K) and context (B, C) to (B, outputs)."""
        return self.net(_with_context(inputs.flatten(1), context))


class MLPDecoder(nn.Module):
    """An MLP of the code and its context.

    >>> MLPDecoder(inputs=2, hidden=(16,), features=5, parameters=3)(torch.zeros(4, 2), None).shape
    torch.Size([4, 5, 3])
    """

    def __init__(self, inputs: int, hidden: tuple[int, ...], features: int, parameters: int) -> None:
        super().__init__()
        self.net = MLP(inputs, hidden, features * parameters)
        self.shape = (features, parameters)

    def forward(self, z: Tensor, context: Tensor | None) -> Tensor:
        """Codes (B, L) and context (B, C) to parameters (B, D, P)."""
        return self.net(_with_context(z, context)).unflatten(1, self.shape)


@coders.register("mlp")
class MLPCoderConfig(CoderConfig):
    """Multi-layer perceptrons.

    >>> from maquette.core.spaces import Vector
    >>> coder = MLPCoderConfig(hidden=(16,))
    >>> encoder = coder.encoder(Vector(dim=5), embed_dim=1, context_features=0, outputs=2)
    >>> decoder = coder.decoder(Vector(dim=5), inputs=2, context_features=0, parameters=3)
    >>> decoder(encoder(torch.zeros(4, 5, 1), None), None).shape
    torch.Size([4, 5, 3])
    """

    summary: ClassVar[str] = "multi-layer perceptrons on flattened samples"

    kind: Literal["mlp"] = "mlp"
    hidden: tuple[Width, ...] = Described(
        default=(256, 256), description="widths of the encoder's hidden layers; the decoder has them in reverse"
    )

    def encoder(self, space: Space, embed_dim: int, context_features: int, outputs: int) -> MLPEncoder:
        return MLPEncoder(size(space) * embed_dim + context_features, self.hidden, outputs)

    def decoder(self, space: Space, inputs: int, context_features: int, parameters: int) -> MLPDecoder:
        return MLPDecoder(inputs + context_features, self.hidden[::-1], size(space), parameters)


class ConvEncoder(nn.Module):
    """Residual convolutions on ever coarser grids, then a linear layer.

    >>> from maquette.core.spaces import Field
    >>> config = ConvCoderConfig(channels=4, strides=(2,))
    >>> encoder = ConvEncoder(Field(channels=1, grid=(8,)), config, embed_dim=1, context_features=3, outputs=2)
    >>> encoder(torch.zeros(5, 8, 1), torch.zeros(5, 3)).shape
    torch.Size([5, 2])
    """

    def __init__(
        self, space: Space, config: ConvCoderConfig, embed_dim: int, context_features: int, outputs: int
    ) -> None:
        super().__init__()
        self.field = as_field(space)
        levels = pyramid(self.field, config.strides, where="coder.strides")
        self.down = DownsamplingPath(
            levels,
            config.strides,
            in_channels=self.field.channels * embed_dim,
            channels=config.channels,
            depth=config.depth,
            context_features=context_features,
        )
        self.output = nn.Linear(config.channels * math.prod(levels[-1].grid), outputs)

    def forward(self, inputs: Tensor, context: Tensor | None) -> Tensor:
        """Inputs (B, D, K) and context (B, C) to (B, outputs)."""
        return self.output(self.down(to_channels(self.field, inputs), context)[-1].flatten(1))


class ConvDecoder(nn.Module):
    """A linear layer, then residual convolutions on ever finer grids.

    >>> from maquette.core.spaces import Field
    >>> config = ConvCoderConfig(channels=4, strides=(2,))
    >>> decoder = ConvDecoder(Field(channels=1, grid=(8,)), config, inputs=2, context_features=3, parameters=1)
    >>> decoder(torch.zeros(5, 2), torch.zeros(5, 3)).shape
    torch.Size([5, 8, 1])
    """

    def __init__(
        self, space: Space, config: ConvCoderConfig, inputs: int, context_features: int, parameters: int
    ) -> None:
        super().__init__()
        self.field = as_field(space)
        levels = pyramid(self.field, config.strides, where="coder.strides")
        self.shape = (config.channels, *levels[-1].grid)
        self.input = nn.Linear(inputs, math.prod(self.shape))
        self.up = UpsamplingPath(
            levels,
            config.strides,
            channels=config.channels,
            depth=config.depth,
            context_features=context_features,
            out_channels=self.field.channels * parameters,
        )

    def forward(self, z: Tensor, context: Tensor | None) -> Tensor:
        """Codes (B, L) and context (B, C) to parameters (B, D, P)."""
        return from_channels(self.field, self.up(self.input(z).unflatten(1, self.shape), context))


@coders.register("conv")
class ConvCoderConfig(CoderConfig):
    """Residual convolutional networks.

    >>> from maquette.core.spaces import Field
    >>> coder, space = ConvCoderConfig(channels=4, strides=(2, 2)), Field(channels=1, grid=(8, 8))
    >>> encoder = coder.encoder(space, embed_dim=1, context_features=0, outputs=2)
    >>> decoder = coder.decoder(space, inputs=2, context_features=0, parameters=3)
    >>> decoder(encoder(torch.zeros(4, 64, 1), None), None).shape
    torch.Size([4, 64, 3])
    """

    summary: ClassVar[str] = "residual convolutions on fields of one to three axes, periodic where the field is"

    kind: Literal["conv"] = "conv"
    channels: int = Described(default=32, ge=1, description="channels of all features")
    strides: tuple[Stride, ...] = Described(
        default=(2, 2), min_length=1, description="how much coarser each grid is than the one before"
    )
    depth: int = Described(default=1, ge=1, description="residual blocks at each coarser grid")

    def _require(self, space: Space) -> None:
        if not as_field(space).grid:
            axes = " or ".join(map(str, CONVOLUTIONS))
            raise ConfigError(
                f"coder: convolutions need a field of {axes} axes, found a {space.kind}; take the coder mlp."
            )

    def encoder(self, space: Space, embed_dim: int, context_features: int, outputs: int) -> ConvEncoder:
        self._require(space)
        return ConvEncoder(space, self, embed_dim, context_features, outputs)

    def decoder(self, space: Space, inputs: int, context_features: int, parameters: int) -> ConvDecoder:
        self._require(space)
        return ConvDecoder(space, self, inputs, context_features, parameters)
