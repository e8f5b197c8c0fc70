"""Encoders and decoders between the numbers of a sample and a code, chosen by `kind` in the configs of families.

An encoder's `forward(inputs (B, D, K), context (B, C) or None)` returns (B, outputs), where each of D numbers is seen
as K; a decoder's `forward(z (B, L), context)` returns P parameters of each number's law, (B, D, P).
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
from .conv import CONVOLUTIONS, Analysis, Stride, Synthesis, as_field, pyramid, to_channels, to_numbers
from .mlp import MLP


class CoderConfig(Config):
    """Base of every pair of an encoder and a decoder; the subclass adds `kind: Literal[...]` and its own keys.

    Attributes:
        summary: one line for listings.
    """

    summary: ClassVar[str]

    @abstractmethod
    def encoder(self, space: Space, embed_dim: int, context_features: int, outputs: int) -> nn.Module:
        """Return the encoder of samples of `space`, features embedded in `embed_dim` each; raises `ConfigError`."""

    @abstractmethod
    def decoder(self, space: Space, inputs: int, context_features: int, parameters: int) -> nn.Module:
        """Return the decoder of codes of `inputs` numbers; raises `ConfigError`."""


coders: Registry[type[CoderConfig]] = Registry("coder", package=__package__, group="maquette.coders")

AnyCoder = Annotated[SerializeAsAny[CoderConfig], ByKind(coders)]
"""Field type of a config that holds the config of an encoder and a decoder."""


def _beside(x: Tensor, context: Tensor | None) -> Tensor:
    return x if context is None else torch.cat((x, context), dim=1)


class MLPEncoder(nn.Module):
    """An MLP of all numbers and the condition."""

    def __init__(self, inputs: int, hidden: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.net = MLP(inputs, hidden, outputs)

    def forward(self, inputs: Tensor, context: Tensor | None) -> Tensor:
        return self.net(_beside(inputs.flatten(1), context))


class MLPDecoder(nn.Module):
    """An MLP of the code and the condition."""

    def __init__(self, inputs: int, hidden: tuple[int, ...], numbers: int, parameters: int) -> None:
        super().__init__()
        self.net = MLP(inputs, hidden, numbers * parameters)
        self.parameters_per_number = parameters

    def forward(self, z: Tensor, context: Tensor | None) -> Tensor:
        return self.net(_beside(z, context)).unflatten(1, (-1, self.parameters_per_number))


@coders.register("mlp")
class MLPCoderConfig(CoderConfig):
    """Multi-layer perceptrons."""

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
    """Residual convolutions on ever coarser grids, and a linear layer of what is left."""

    def __init__(
        self, space: Space, config: ConvCoderConfig, embed_dim: int, context_features: int, outputs: int
    ) -> None:
        super().__init__()
        self.field = as_field(space)
        levels = pyramid(self.field, config.strides, where="coder.strides")
        self.analysis = Analysis(
            levels,
            config.strides,
            inputs=self.field.channels * embed_dim,
            channels=config.channels,
            depth=config.depth,
            context_features=context_features,
        )
        self.leave = nn.Linear(config.channels * math.prod(levels[-1].grid), outputs)

    def forward(self, inputs: Tensor, context: Tensor | None) -> Tensor:
        return self.leave(self.analysis(to_channels(self.field, inputs), context)[-1].flatten(1))


class ConvDecoder(nn.Module):
    """The mirror image of `ConvEncoder`."""

    def __init__(
        self, space: Space, config: ConvCoderConfig, inputs: int, context_features: int, parameters: int
    ) -> None:
        super().__init__()
        self.field = as_field(space)
        levels = pyramid(self.field, config.strides, where="coder.strides")
        self.shape = (config.channels, *levels[-1].grid)
        self.enter = nn.Linear(inputs, math.prod(self.shape))
        self.synthesis = Synthesis(
            levels,
            config.strides,
            channels=config.channels,
            depth=config.depth,
            context_features=context_features,
            outputs=self.field.channels * parameters,
        )

    def forward(self, z: Tensor, context: Tensor | None) -> Tensor:
        return to_numbers(self.field, self.synthesis(self.enter(z).unflatten(1, self.shape), context))


@coders.register("conv")
class ConvCoderConfig(CoderConfig):
    """Residual convolutional networks."""

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
