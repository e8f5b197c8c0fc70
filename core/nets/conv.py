"""Convolutions on grids of any number of axes, and what networks of several resolutions are built of.

A periodic axis wraps. A vector is a field of as many channels on a grid without axes, where a convolution is a linear
layer: so a network written with these pieces serves both.
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

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}

Stride = Annotated[int, Described(ge=1)]
"""How much coarser a grid is than the one before."""


class Convolution(nn.Module):
    """A convolution of side 3 that keeps the grid: periodic axes wrap, the others are padded with zeros."""

    def __init__(self, field: Field, inputs: int, outputs: int) -> None:
        super().__init__()
        self.periodic = field.periodic or (False,) * len(field.grid)
        axes = len(field.grid)
        self.inner = CONVOLUTIONS[axes](inputs, outputs, 3) if axes else nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, *grid) to (B, outputs, *grid)."""
        if not self.periodic:
            return self.inner(x)
        for axis, periodic in enumerate(self.periodic, start=2):
            if periodic:
                x = torch.cat((x.narrow(axis, x.shape[axis] - 1, 1), x, x.narrow(axis, 0, 1)), dim=axis)
        # F.pad names axes from the last to the first
        return self.inner(F.pad(x, [0 if periodic else 1 for periodic in self.periodic[::-1] for _ in range(2)]))


def zero_start(layer: Convolution) -> Convolution:
    """Set a convolution to the zero function."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def normalized(x: Tensor) -> Tensor:
    """Features (B, channels, *grid) of zero mean and unit variance over a sample; knows nothing of other samples."""
    return F.group_norm(x, 1)


class Residual(nn.Module):
    """x + W2 silu(W1 silu(norm(x)) + V c): a residual block that sees a condition; it starts as the identity."""

    def __init__(self, field: Field, channels: int, context_features: int) -> None:
        super().__init__()
        self.first = Convolution(field, channels, channels)
        self.second = zero_start(Convolution(field, channels, channels))
        self.condition = nn.Linear(context_features, channels, bias=False) if context_features else None

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        """x (B, channels, *grid) and context (B, C) to (B, channels, *grid)."""
        hidden = self.first(F.silu(normalized(x)))
        if self.condition is not None:
            bias = self.condition(context)
            hidden = hidden + bias.reshape(*bias.shape, *(1,) * (hidden.ndim - 2))
        return x + self.second(F.silu(hidden))


def coarser(field: Field, inputs: int, outputs: int, stride: int) -> nn.Module:
    """Layer from (B, inputs, *grid of `field`) to a grid `stride` times coarser, block by block without overlap."""
    axes = len(field.grid)
    return CONVOLUTIONS[axes](inputs, outputs, stride, stride) if axes else nn.Linear(inputs, outputs)


def finer(field: Field, inputs: int, outputs: int, stride: int) -> nn.Module:
    """Layer from a grid `stride` times coarser to (B, outputs, *grid of `field`), block by block without overlap."""
    axes = len(field.grid)
    return TRANSPOSED[axes](inputs, outputs, stride, stride) if axes else nn.Linear(inputs, outputs)


def as_field(space: Space) -> Field:
    """A field of one to three axes as it is, any other space as the channels of a grid without axes."""
    if isinstance(space, Field) and len(space.grid) in CONVOLUTIONS:
        return space
    return Field(channels=size(space), grid=())


def pyramid(field: Field, strides: Iterable[int], *, where: str) -> list[Field]:
    """The field at its own and then at ever coarser grids, each `stride` times coarser than the one before.

    Raises:
        ConfigError: a stride that does not divide the grid it meets; `where` names the key.
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


def to_channels(field: Field, numbers: Tensor) -> Tensor:
    """Numbers (B, D, K) in the order of a flattened field to channels (B, field.channels * K, *grid)."""
    return numbers.unflatten(1, field.shape).movedim(-1, 2).flatten(1, 2)


def to_numbers(field: Field, channels: Tensor) -> Tensor:
    """Inverse of `to_channels`: (B, field.channels * P, *grid) to (B, D, P)."""
    return channels.unflatten(1, (field.channels, -1)).movedim(2, -1).flatten(1, -2)


class Analysis(nn.Module):
    """Features of a field at each of its coarser grids, from the finest to the coarsest.

    Args:
        levels: what `pyramid` returned.
        strides: what `pyramid` was given.
        inputs: channels of the field as the network sees it.
        channels: channels of all features.
        depth: residual blocks at each grid.
        context_features: C, features of the context.
    """

    def __init__(
        self,
        levels: Sequence[Field],
        strides: Sequence[int],
        *,
        inputs: int,
        channels: int,
        depth: int,
        context_features: int,
    ) -> None:
        super().__init__()
        self.enter = Convolution(levels[0], inputs, channels)
        self.down = nn.ModuleList(
            coarser(level, channels, channels, stride) for level, stride in zip(levels[:-1], strides, strict=True)
        )
        self.blocks = nn.ModuleList(_blocks(level, channels, depth, context_features) for level in levels[1:])

    def forward(self, x: Tensor, context: Tensor | None) -> list[Tensor]:
        """x (B, inputs, *grid) and context (B, C) to one (B, channels, *coarser grid) per stride."""
        x, features = self.enter(x), []
        for down, blocks in zip(self.down, self.blocks, strict=True):
            x = down(x)
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, context)
            features.append(x)
        return features


class Synthesis(nn.Module):
    """The way back: features at the coarsest grid to those of the finest; arguments as those of `Analysis`.

    Args:
        outputs: channels returned.
    """

    def __init__(
        self,
        levels: Sequence[Field],
        strides: Sequence[int],
        *,
        channels: int,
        depth: int,
        context_features: int,
        outputs: int,
    ) -> None:
        super().__init__()
        pairs = list(zip(levels[:-1], strides, strict=True))[::-1]
        self.up = nn.ModuleList(finer(level, channels, channels, stride) for level, stride in pairs)
        self.blocks = nn.ModuleList(_blocks(level, channels, depth, context_features) for level in levels[:0:-1])
        self.leave = Convolution(levels[0], channels, outputs)

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        """x (B, channels, *coarsest grid) and context (B, C) to (B, outputs, *grid)."""
        for up, blocks in zip(self.up, self.blocks, strict=True):
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, context)
            x = up(x)
        return self.leave(F.silu(normalized(x)))


def _blocks(field: Field, channels: int, depth: int, context_features: int) -> nn.ModuleList:
    return nn.ModuleList(Residual(field, channels, context_features) for _ in range(depth))
