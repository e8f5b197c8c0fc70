"""One convolutional stream per field of a product, each gated with the output of the stream before it.

After LAGAN and CaloGAN (de Oliveira, Paganini & Nachman, arXiv:1701.05927, 1705.02355; Paganini et al., 1712.10321):
calorimeter layers are images on different grids. A learned gate mixes, cell by cell, the output of a stream with the
output of the previous stream, resampled to its grid. The network can be a generator or the backbone of a critic.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field as Described
from torch import Tensor, nn
from torch.nn import functional as F

from ..context import NO_CONTEXT, Context
from ..errors import ConfigError
from ..layout import parts
from ..spaces import Field, Space, Vector, size
from . import NetworkConfig, networks
from .conv import CONVOLUTIONS, Convolution
from .embeddings import Conditioner, Modulation
from .init import zero_init


def averaging_matrix(before: int, after: int) -> Tensor:
    """Matrix (after, before) that averages `before` equal cells of an interval onto `after` equal cells.

    >>> averaging_matrix(4, 2)
    tensor([[0.5000, 0.5000, 0.0000, 0.0000],
            [0.0000, 0.0000, 0.5000, 0.5000]])
    """
    fine, coarse = torch.arange(before + 1) / before, torch.arange(after + 1) / after
    low = torch.maximum(coarse[:-1, None], fine[None, :-1])
    high = torch.minimum(coarse[1:, None], fine[None, 1:])
    return (high - low).clamp(min=0) * after


class Gate(nn.Module):
    """g * own + (1 - g) * previous, with a gate g in (0, 1) for every cell that depends on both.

    Args:
        before: C' channels on the grid of the previous field.
        after: C channels on the grid of the field itself.

    >>> gate = Gate(before=Field(channels=1, grid=(4,)), after=Field(channels=2, grid=(8,)))
    >>> gate(torch.zeros(3, 2, 8), torch.zeros(3, 1, 4)).shape
    torch.Size([3, 2, 8])
    """

    resample: Tensor

    def __init__(self, before: Field, after: Field) -> None:
        super().__init__()
        self.grid = after.grid
        matrix = torch.ones(1, 1)
        for old, new in zip(before.grid, after.grid, strict=True):
            matrix = torch.kron(matrix, averaging_matrix(old, new))
        self.register_buffer("resample", matrix, persistent=False)
        self.channel_proj = nn.Linear(before.channels, after.channels, bias=False)
        self.gate = Convolution(after, 2 * after.channels, after.channels)

    def forward(self, own: Tensor, previous: Tensor) -> Tensor:
        """own (B, C, *grid) and previous (B, C', *grid') to (B, C, *grid)."""
        cells = previous.flatten(2) @ self.resample.T
        resampled = self.channel_proj(cells.transpose(1, 2)).transpose(1, 2).unflatten(2, self.grid)
        gate = torch.sigmoid(self.gate(torch.cat((own, resampled), dim=1)))
        return torch.lerp(resampled, own, gate)


class _Stream(nn.Module):
    """Residual convolutions over one field, modulated by features that all streams share.

    Args:
        field: the field.
        before: the field of the stream before, None for the first stream.
        features: F, shared features.
        channels: channels of the stream.
        depth: number of residual convolutions.
    """

    def __init__(self, field: Field, before: Field | None, features: int, channels: int, depth: int) -> None:
        super().__init__()
        self.in_proj = Convolution(field, field.channels, channels)
        self.modulation = Modulation(features, channels, 3 * depth)
        self.blocks = nn.ModuleList(Convolution(field, channels, channels) for _ in range(depth))
        self.out_proj = zero_init(nn.Linear(channels, field.channels))
        self.gate = None if before is None else Gate(before, field)

    def forward(self, x: Tensor, features: Tensor, previous: Tensor | None) -> Tensor:
        """x (B, C, *grid), features (B, F) and the previous stream's output to (B, C, *grid)."""
        over_grid = (...,) + (None,) * (x.ndim - 2)
        modulation = [tensor[over_grid] for tensor in self.modulation(features)]
        hidden = self.in_proj(x)
        for i, block in enumerate(self.blocks):
            shift, scale, gate = modulation[3 * i : 3 * i + 3]
            hidden = hidden + gate * block(F.silu(F.group_norm(hidden, 1) * (1 + scale) + shift))
        own = self.out_proj(F.silu(hidden).movedim(1, -1)).movedim(-1, 1)
        return own if self.gate is None or previous is None else self.gate(own, previous)


class Streams(nn.Module):
    """The network: flattened samples (B, D) to (B, D) given time (B,) and context (B, C).

    Vector parts are linear in the features that all streams share.

    Args:
        space: one or more fields, and vectors.
        context_features: C, features of the context; 0 for none.
        config: channels, depth and width.
        time: whether a time is given.

    >>> from maquette.core.spaces import Product
    >>> space = Product(parts={"energy": Vector(dim=1), "layer": Field(channels=1, grid=(4, 4))})
    >>> network = Streams(space, 0, StreamsConfig(channels=4, depth=1, width=8), time=False)
    >>> network(torch.zeros(3, 17)).shape
    torch.Size([3, 17])
    """

    def __init__(self, space: Space, context_features: int, config: StreamsConfig, *, time: bool) -> None:
        super().__init__()
        self.named = dict(parts(space))
        fields = {name: part for name, part in self.named.items() if isinstance(part, Field)}
        vectors = [part for part in self.named.values() if isinstance(part, Vector)]
        self.sizes = [size(part) for part in self.named.values()]
        self.conditioner = Conditioner(context_features, config.width, time=time)
        self.global_proj = nn.Linear(sum(self.sizes), config.width)
        self.global_mlp = nn.Linear(config.width, config.width)
        before = [None, *fields.values()]
        self.streams = nn.ModuleList(
            _Stream(field, previous, config.width, config.channels, config.depth)
            for field, previous in zip(fields.values(), before, strict=False)
        )
        self.vectors = nn.ModuleList(zero_init(nn.Linear(config.width, part.dim)) for part in vectors)

    def forward(self, x: Tensor, time: Tensor | None = None, context: Context = NO_CONTEXT) -> Tensor:
        """x (B, D), time (B,) and context to (B, D)."""
        features = self.conditioner(x, time, context.vector) + F.silu(self.global_proj(x))
        features = F.silu(self.global_mlp(features))
        streams, vectors = iter(self.streams), iter(self.vectors)
        previous, flat = None, []
        for part, piece in zip(self.named.values(), x.split(self.sizes, dim=1), strict=True):
            if isinstance(part, Field):
                previous = next(streams)(piece.unflatten(1, part.shape), features, previous)
                flat.append(previous.flatten(1))
            else:
                flat.append(next(vectors)(features))
        return torch.cat(flat, dim=1)


@networks.register("streams")
class StreamsConfig(NetworkConfig):
    """Streams with gates from layer to layer.

    >>> from maquette.core.spaces import Product
    >>> layers = Product(parts={"a": Field(channels=1, grid=(2, 4)), "b": Field(channels=1, grid=(4, 2))})
    >>> StreamsConfig(channels=4, depth=1, width=8).build(layers)(torch.zeros(3, 16)).shape
    torch.Size([3, 16])
    """

    summary: ClassVar[str] = "one convolutional stream per field, each gated with the one before"

    kind: Literal["streams"] = "streams"
    channels: int = Described(default=24, ge=1, description="channels of a stream")
    depth: int = Described(default=2, ge=1, description="residual convolutions of a stream")
    width: int = Described(default=128, ge=1, description="features that all streams share")

    def build(self, space: Space, condition: Space | None = None, *, time: bool = False) -> Streams:
        layout = self.layout(space, condition)
        axes = sorted({len(part.grid) for _, part in parts(space) if isinstance(part, Field)})
        if len(axes) != 1 or axes[0] not in CONVOLUTIONS:
            raise ConfigError(f"streams: expected fields of one, two or three axes, all alike, found axes {axes}.")
        return Streams(space, layout.context_features, self, time=time)
