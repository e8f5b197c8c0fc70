"""Glow: images by steps of a scale per channel, an invertible 1x1 convolution and a coupling, on ever coarser grids.

Kingma & Dhariwal, arXiv:1807.03039, on grids of one, two or three axes, of which the periodic ones wrap. A level moves
each block of neighbouring cells into channels (the squeeze), takes its steps, and lets half of the channels go as they
are told by the other half (the multi-scale architecture of Dinh et al., arXiv:1605.08803), which goes on to the next.
Channels lie before cells in a row, so that the first half of the channels is the first half of the row: all of this is
made of couplings, matrices and permutations of (the beginning of) rows.

The scales start at one, not at what whitens the first batch: codecs give data of unit variance, the couplings start as
the identity and the convolutions as rotations, so that nothing is left to whiten, and a loss that looks at its first
batch would not be the same on one process and on eight.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from pydantic import Field as Described
from torch import Tensor, nn
from torch.distributions import Transform
from torch.nn import functional as F

from ...errors import ConfigError
from ...layout import Layout
from ...nets.conv import CONVOLUTIONS, Convolution, Residual, normalized, zero_start
from ...spaces import Field, Space
from .. import families
from .bijection import Bijection, Summed
from .coupling import Coupling, Permutation
from .elementwise import Affine, AffineTransform, Elementwise
from .flow import Flow, FlowConfig
from .linear import Mixing


class ActNorm(nn.Module):
    """Lazy scale and shift of each channel of rows (..., C * cells)."""

    def __init__(self, channels: int, cells: int) -> None:
        super().__init__()
        self.cells = cells
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, context: Tensor | None) -> Transform:
        shift, log_scale = (each.repeat_interleave(self.cells) for each in (self.shift, self.log_scale))
        return Summed(AffineTransform(shift, log_scale))


class BeginningTransform(Bijection):
    """A bijection of the first `count` numbers of a row; the rest stays."""

    def __init__(self, inner: Transform, count: int) -> None:
        super().__init__()
        self.inner, self.count = inner, count

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, ladj = self.inner.call_and_ladj(x[..., : self.count])  # type: ignore[attr-defined]
        return torch.cat((y, x[..., self.count :]), dim=-1), ladj

    def _inverse(self, y: Tensor) -> Tensor:
        return torch.cat((self.inner.inv(y[..., : self.count]), y[..., self.count :]), dim=-1)  # type: ignore[list-item]


class Beginning(nn.Module):
    """Lazy transform of the first `count` numbers of a row."""

    def __init__(self, lazy: nn.Module, count: int) -> None:
        super().__init__()
        self.lazy, self.count = lazy, count

    def forward(self, context: Tensor | None) -> Transform:
        return BeginningTransform(self.lazy(context), self.count)


class ImageNetwork(nn.Module):
    """Residual convolutions for a coupling: rows of `inputs` channels, and columns beside them, to `outputs` channels.

    Args:
        grid: its cells and which of its axes wrap; its channels do not matter.
        width: channels within.
        depth: residual blocks.
        context_features: C, features of the context.
        between: makes a module (B, width, *grid) to the same, to stand after each block.
    """

    def __init__(
        self,
        grid: Field,
        inputs: int,
        outputs: int,
        *,
        width: int,
        depth: int,
        context_features: int,
        between: Callable[[], nn.Module] = nn.Identity,
    ) -> None:
        super().__init__()
        self.shape = (inputs, *grid.grid)
        self.context_features = context_features
        self.enter = Convolution(grid, inputs, width)
        self.blocks = nn.ModuleList(Residual(grid, width, context_features) for _ in range(depth))
        self.between = nn.ModuleList(between() for _ in range(depth))
        self.leave = zero_start(Convolution(grid, width, outputs))

    def forward(self, rows: Tensor) -> Tensor:
        """(B, inputs * cells + C) to (B, outputs * cells)."""
        count = rows.shape[1] - self.context_features
        context = rows[:, count:] if self.context_features else None
        hidden = self.enter(rows[:, :count].unflatten(1, self.shape))
        for block, between in zip(self.blocks, self.between, strict=True):
            hidden = between(block(hidden, context))
        return self.leave(F.silu(normalized(hidden))).flatten(1)


ImageNetworks = Callable[[Field, int, int], nn.Module]
"""networks(grid, input channels, output channels) -> a network on rows for `Coupling`."""


def squeeze(field: Field, *, kind: str) -> tuple[Tensor, Field]:
    """Where the numbers of a row go when every even axis is halved into channels, and the field that they make.

    Raises:
        ConfigError: no axis can be halved.
    """
    factors = [2 if side % 2 == 0 else 1 for side in field.grid]
    if all(factor == 1 for factor in factors):
        raise ConfigError(
            f"{kind}.levels: a level halves the axes that are even, found a grid of {list(field.grid)} at one of them; "
            "choose fewer levels, or pad the field."
        )
    sides = [number for side, factor in zip(field.grid, factors, strict=True) for number in (side // factor, factor)]
    places = torch.arange(field.channels * _cells(field)).reshape(field.channels, *sides)
    blocks, inner = range(1, places.ndim, 2), range(2, places.ndim, 2)
    grid = tuple(side // factor for side, factor in zip(field.grid, factors, strict=True))
    channels = field.channels * _cells(field) // _cells(field.model_copy(update={"grid": grid}))
    squeezed = field.model_copy(update={"grid": grid, "channels": channels})
    return places.permute(0, *inner, *blocks).flatten(), squeezed


def _cells(field: Field) -> int:
    return torch.Size(field.grid).numel()


def rotation(channels: int) -> Tensor:
    """A random rotation or reflection (C, C)."""
    return torch.linalg.qr(torch.randn(channels, channels)).Q


def image_steps(
    field: Field, steps: int, elementwise: Elementwise, networks: ImageNetworks, start: Callable[[int], Tensor]
) -> list[nn.Module]:
    """Steps of scale, 1x1 convolution (from `start`) and coupling, on rows of a field of two channels or more."""
    channels, cells = field.channels, _cells(field)
    stays = channels // 2
    transforms: list[nn.Module] = []
    for _ in range(steps):
        network = networks(field, stays, elementwise.size * (channels - stays))
        coupling = Coupling(network, elementwise, stays * cells, first=False)
        transforms += [ActNorm(channels, cells), Mixing(start(channels)), coupling]
    return transforms


def multi_scale(
    field: Field,
    levels: int,
    steps: int,
    elementwise: Elementwise,
    networks: ImageNetworks,
    start: Callable[[int], Tensor],
    *,
    kind: str,
) -> list[nn.Module]:
    """The whole architecture on rows of a field; codes lie where their cells do.

    Raises:
        ConfigError: a grid that cannot be halved so often.
    """
    transforms: list[nn.Module] = []
    places = torch.arange(field.channels * _cells(field))
    for level in range(levels):
        if level:  # let half of the channels go
            kept = field.model_copy(update={"channels": field.channels // 2})
            network = networks(field, kept.channels, Affine().size * (field.channels - kept.channels))
            goodbye = Coupling(network, Affine(), kept.channels * _cells(field), first=False)
            transforms.append(Beginning(goodbye, field.channels * _cells(field)))
            field = kept
        order, field = squeeze(field, kind=kind)
        count = len(order)
        places = torch.cat((places[order], places[count:]))
        steps_here = [Permutation(order), *image_steps(field, steps, elementwise, networks, start)]
        transforms += [Beginning(lazy, count) for lazy in steps_here]
    return [*transforms, Permutation(places.argsort())]


@families.register("glow")
class GlowConfig(FlowConfig):
    """Multi-scale flow of images with invertible 1x1 convolutions."""

    summary: ClassVar[str] = "images by channel scales, 1x1 convolutions and couplings, on ever coarser grids"
    reference: ClassVar[str] = "Kingma & Dhariwal, arXiv:1807.03039"
    spaces: ClassVar[tuple[str, ...]] = ("field",)

    kind: Literal["glow"] = "glow"
    levels: int = Described(default=2, ge=1, description="grids, each with its even axes half as long as before")
    steps: int = Described(default=8, ge=1, description="steps at each level")
    width: int = Described(default=64, ge=1, description="channels within the couplings' networks")
    depth: int = Described(default=1, ge=1, description="residual blocks of a network")

    def build(self, space: Space, condition: Space | None = None) -> Flow:
        layout = Layout(space, condition)
        field = require_field(self.kind, space)

        def network(grid: Field, inputs: int, outputs: int) -> nn.Module:
            return ImageNetwork(
                grid, inputs, outputs, width=self.width, depth=self.depth, context_features=layout.context_features
            )

        # over a field that is nearly the truth already, the flow starts as the identity
        start = torch.eye if self.ordered else rotation
        transforms = multi_scale(field, self.levels, self.steps, Affine(), network, start, kind=self.kind)
        return Flow(layout, transforms, self.base.build(layout))

    @classmethod
    def example(cls) -> GlowConfig:
        return cls(levels=1, steps=2, width=8)


def require_field(kind: str, space: Space) -> Field:
    """The space as a field that convolutions can go over; raises `ConfigError` for any other."""
    if not isinstance(space, Field):
        raise ConfigError(f"{kind}: expected a field, found a {space.kind}; use a flow of vectors.")
    if len(space.grid) not in CONVOLUTIONS:
        raise ConfigError(f"{kind}: expected a grid of one, two or three axes, found {list(space.grid)}.")
    return space
