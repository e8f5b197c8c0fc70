"""Convolutions on grids of any number of axes, and the networks of several resolutions that are built of them.

Periodic axes wrap. A vector counts as a field of as many channels on a grid without axes, and a convolution is then a
linear layer, so a network written with these modules takes vectors and fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import torch
from pydantic import Field as Described
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ConfigError
from ..spaces import Field, Space, size
from .init import zero_init

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}

Stride = Annotated[int, Described(ge=1)]
"""How much coarser a grid is than the one before."""


class Convolution(nn.Module):
    """A convolution with kernel size 3 that keeps the grid; periodic axes wrap, the others are padded with zeros.

    >>> Convolution(Field(channels=1, grid=(8, 8)), 1, 16)(torch.zeros(4, 1, 8, 8)).shape
    torch.Size([4, 16, 8, 8])
    >>> Convolution(Field(channels=3, grid=()), 3, 16)
    Convolution(
      (inner): Linear(in_features=3, out_features=16, bias=True)
    )
    """

    def __init__(self, field: Field, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.periodic = field.periodic or (False,) * len(field.grid)
        axes = len(field.grid)
        self.inner = CONVOLUTIONS[axes](in_channels, out_channels, 3) if axes else nn.Linear(in_channels, out_channels)

    def extra_repr(self) -> str:
        return f"periodic={self.periodic}" if any(self.periodic) else ""

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, *grid) to (B, out_channels, *grid)."""
        if not self.periodic:
            return self.inner(x)
        for axis, periodic in enumerate(self.periodic, start=2):
            if periodic:
                x = torch.cat((x.narrow(axis, x.shape[axis] - 1, 1), x, x.narrow(axis, 0, 1)), dim=axis)
        # F.pad names axes from the last to the first
        return self.inner(F.pad(x, [0 if periodic else 1 for periodic in self.periodic[::-1] for _ in range(2)]))


def normalized(x: Tensor) -> Tensor:
    """Group norm with one group and no weights: each sample (channels, *grid) to mean zero and variance one.

    >>> normalized(torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])).var(correction=0)
    tensor(1.0000)
    """
    return F.group_norm(x, 1)


class ResidualBlock(nn.Module):
    """x + W2 silu(W1 silu(norm(x)) + V c), a residual block with context c; it starts as the identity.

    >>> block = ResidualBlock(Field(channels=1, grid=(8,)), channels=4, context_features=2)
    >>> x = torch.ones(3, 4, 8)
    >>> torch.equal(block(x, torch.zeros(3, 2)), x)
    True
    """

    def __init__(self, field: Field, channels: int, context_features: int) -> None:
        super().__init__()
        self.first = Convolution(field, channels, channels)
        self.second = zero_init(Convolution(field, channels, channels))
        self.context = nn.Linear(context_features, channels, bias=False) if context_features else None

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        """x (B, channels, *grid) and context (B, C) to (B, channels, *grid)."""
        hidden = self.first(F.silu(normalized(x)))
        if self.context is not None:
            bias = self.context(context)
            hidden = hidden + bias.reshape(*bias.shape, *(1,) * (hidden.ndim - 2))
        return x + self.second(F.silu(hidden))


class ResidualBlocks(nn.ModuleList):
    """`depth` residual blocks in sequence; other arguments and shapes as of `ResidualBlock`.

    >>> blocks = ResidualBlocks(Field(channels=1, grid=(8,)), channels=4, depth=2, context_features=0)
    >>> blocks(torch.zeros(3, 4, 8), None).shape
    torch.Size([3, 4, 8])
    """

    def __init__(self, field: Field, channels: int, depth: int, context_features: int) -> None:
        super().__init__(ResidualBlock(field, channels, context_features) for _ in range(depth))

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        for block in self:
            x = block(x, context)
        return x


def downsampling(field: Field, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Layer from (B, in_channels, *grid of `field`) to a grid `stride` times coarser; its kernels do not overlap.

    >>> downsampling(Field(channels=1, grid=(8, 8)), 4, 6, stride=2)(torch.zeros(3, 4, 8, 8)).shape
    torch.Size([3, 6, 4, 4])
    """
    axes = len(field.grid)
    return (
        CONVOLUTIONS[axes](in_channels, out_channels, stride, stride) if axes else nn.Linear(in_channels, out_channels)
    )


def upsampling(field: Field, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Layer from a grid `stride` times coarser to (B, out_channels, *grid of `field`); its kernels do not overlap.

    >>> upsampling(Field(channels=1, grid=(8, 8)), 6, 4, stride=2)(torch.zeros(3, 6, 4, 4)).shape
    torch.Size([3, 4, 8, 8])
    """
    axes = len(field.grid)
    return TRANSPOSED[axes](in_channels, out_channels, stride, stride) if axes else nn.Linear(in_channels, out_channels)


def as_field(space: Space) -> Field:
    """A field of one to three axes as it is, any other space as the channels of a grid without axes.

    >>> as_field(Field(channels=2, grid=(4, 4))).shape
    (2, 4, 4)
    >>> as_field(Field(channels=1, grid=(2, 2, 2, 2))).shape
    (16,)
    """
    if isinstance(space, Field) and len(space.grid) in CONVOLUTIONS:
        return space
    return Field(channels=size(space), grid=())


def pyramid(field: Field, strides: Iterable[int], *, where: str) -> list[Field]:
    """The field at its own and then at ever coarser grids, each `stride` times coarser than the one before.

    >>> [level.grid for level in pyramid(Field(channels=1, grid=(28, 28)), (2, 2), where="strides")]
    [(28, 28), (14, 14), (7, 7)]

    Raises:
        ConfigError: a stride does not divide the grid before it; `where` is the key to name.
    """
    levels = [field]
    for stride in strides:
        grid = levels[-1].grid
        if any(side % stride for side in grid):
            raise ConfigError(
                f"{where}: a stride of {stride} does not divide a grid of {list(grid)}; choose one that divides every "
                "axis, or fewer strides."
            )
        levels.append(levels[-1].model_copy(update={"grid": tuple(side // stride for side in grid)}))
    return levels


def to_channels(field: Field, flat: Tensor) -> Tensor:
    """K values per feature of a flattened field, (B, D, K), to channels (B, field.channels * K, *grid).

    >>> field = Field(channels=1, grid=(4, 4))
    >>> channels = to_channels(field, torch.zeros(3, 16, 2))
    >>> channels.shape, from_channels(field, channels).shape
    (torch.Size([3, 2, 4, 4]), torch.Size([3, 16, 2]))
    """
    return flat.unflatten(1, field.shape).movedim(-1, 2).flatten(1, 2)


def from_channels(field: Field, channels: Tensor) -> Tensor:
    """Inverse of `to_channels`: (B, field.channels * K, *grid) to (B, D, K)."""
    return channels.unflatten(1, (field.channels, -1)).movedim(2, -1).flatten(1, -2)


class DownsamplingPath(nn.Module):
    """Features of a field at each of its coarser grids, from the finest to the coarsest.

    Args:
        levels: what `pyramid` returned.
        strides: what `pyramid` was given.
        in_channels: channels of x on the finest grid.
        channels: channels of all features.
        depth: residual blocks at each grid but the finest.
        context_features: C, features of the context.

    >>> levels = pyramid(Field(channels=1, grid=(8,)), (2, 2), where="strides")
    >>> down = DownsamplingPath(levels, (2, 2), in_channels=1, channels=4, depth=1, context_features=0)
    >>> [tuple(features.shape) for features in down(torch.zeros(3, 1, 8), None)]
    [(3, 4, 4), (3, 4, 2)]
    """

    def __init__(
        self,
        levels: Sequence[Field],
        strides: Sequence[int],
        *,
        in_channels: int,
        channels: int,
        depth: int,
        context_features: int,
    ) -> None:
        super().__init__()
        self.input = Convolution(levels[0], in_channels, channels)
        self.down = nn.ModuleList(
            downsampling(level, channels, channels, stride) for level, stride in zip(levels[:-1], strides, strict=True)
        )
        self.blocks = nn.ModuleList(ResidualBlocks(level, channels, depth, context_features) for level in levels[1:])

    def forward(self, x: Tensor, context: Tensor | None) -> list[Tensor]:
        """x (B, in_channels, *grid) and context (B, C) to one (B, channels, *coarser grid) per stride."""
        x, features = self.input(x), []
        for down, blocks in zip(self.down, self.blocks, strict=True):
            x = blocks(down(x), context)
            features.append(x)
        return features


class UpsamplingPath(nn.Module):
    """Features at the coarsest grid to values at the finest; other arguments as of `DownsamplingPath`.

    Args:
        out_channels: channels returned, on the finest grid.

    >>> levels = pyramid(Field(channels=1, grid=(8,)), (2, 2), where="strides")
    >>> up = UpsamplingPath(levels, (2, 2), channels=4, depth=1, context_features=0, out_channels=3)
    >>> up(torch.zeros(5, 4, 2), None).shape
    torch.Size([5, 3, 8])
    """

    def __init__(
        self,
        levels: Sequence[Field],
        strides: Sequence[int],
        *,
        channels: int,
        depth: int,
        context_features: int,
        out_channels: int,
    ) -> None:
        super().__init__()
        pairs = list(zip(levels[:-1], strides, strict=True))[::-1]
        self.up = nn.ModuleList(upsampling(level, channels, channels, stride) for level, stride in pairs)
        self.blocks = nn.ModuleList(ResidualBlocks(level, channels, depth, context_features) for level in levels[:0:-1])
        self.output = Convolution(levels[0], channels, out_channels)

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        """x (B, channels, *coarsest grid) and context (B, C) to (B, out_channels, *grid)."""
        for up, blocks in zip(self.up, self.blocks, strict=True):
            x = up(blocks(x, context))
        return self.output(F.silu(normalized(x)))
