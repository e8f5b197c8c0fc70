"""Glow: images by steps of a scale per channel, an invertible 1x1 convolution and a coupling, on ever coarser grids.

Kingma & Dhariwal, arXiv:1807.03039, on grids of one, two or three axes, of which the periodic ones wrap. A level moves
each block of neighbouring cells into channels (the squeeze) and takes its steps. Half of the channels then become part
of the code, with a shift and scale given by the other half (the learned prior of the split). The other half goes on to
the next level (the multi-scale architecture of Dinh et al., arXiv:1605.08803). Flattened, channels come before cells,
so that the first half of the channels is the first half of the features: every transform here is a coupling, a matrix
or a permutation of the leading features.

The scales start at one, without the data-dependent initialisation of the paper. Codecs return data of unit variance,
couplings start as the identity and convolutions as rotations, so that there is little to whiten. And weights that
depended on the first batch would differ between one process and eight.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from pydantic import Field as Described
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import ConfigError
from ...layout import Layout
from ...nets.conv import CONVOLUTIONS, Convolution, ResidualBlock, normalized
from ...nets.init import zero_init
from ...spaces import Field, Space
from .. import families
from .bijection import Bijection, DependentTransform, LazyTransform
from .coupling import Coupling, Permutation
from .elementwise import Affine, AffineTransform, Univariate
from .flow import Flow, FlowConfig
from .linear import LULinear


class ActNorm(LazyTransform):
    """Lazy scale and shift of each channel of x (..., C * cells).

    >>> y, ladj = ActNorm(channels=2, cells=3)(None).call_and_ladj(torch.ones(5, 6))
    >>> y.shape, ladj.shape
    (torch.Size([5, 6]), torch.Size([5]))
    """

    def __init__(self, channels: int, cells: int) -> None:
        super().__init__()
        self.cells = cells
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, context: Tensor | None) -> Bijection:
        shift, log_scale = (each.repeat_interleave(self.cells) for each in (self.shift, self.log_scale))
        return DependentTransform(AffineTransform(shift, log_scale))

    def extra_repr(self) -> str:
        return f"channels={len(self.shift)}, cells={self.cells}"


class _LeadingTransform(Bijection):
    """A bijection of the first `count` features; the others are unchanged."""

    def __init__(self, transform: Bijection, count: int) -> None:
        super().__init__()
        self.transform, self.count = transform, count

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, ladj = self.transform.call_and_ladj(x[..., : self.count])
        return torch.cat((y, x[..., self.count :]), dim=-1), ladj

    def inverse(self, y: Tensor) -> Tensor:
        return torch.cat((self.transform.inverse(y[..., : self.count]), y[..., self.count :]), dim=-1)


class Leading(LazyTransform):
    """Lazy transform of the first `count` features; the others are unchanged.

    >>> Leading(Permutation(torch.tensor([1, 0])), count=2)(None)(torch.tensor([5.0, 6.0, 7.0]))
    tensor([6., 5., 7.])
    """

    def __init__(self, lazy: LazyTransform, count: int) -> None:
        super().__init__()
        self.lazy, self.count = lazy, count

    def forward(self, context: Tensor | None) -> Bijection:
        return _LeadingTransform(self.lazy(context), self.count)

    def extra_repr(self) -> str:
        return f"count={self.count}"


class ImageNetwork(nn.Module):
    """Residual convolutions as the conditioner of a coupling; inputs and outputs are flattened channels.

    Args:
        grid: gives the cells and which axes are periodic; its channels are ignored.
        inputs: channels of the identity part.
        outputs: channels returned.
        width: channels of the hidden layers.
        depth: residual blocks.
        context_features: C, features of the context.
        between: makes the module that follows each block, (B, width, *grid) to (B, width, *grid).

    >>> network = ImageNetwork(Field(channels=1, grid=(4, 4)), 2, 6, width=8, depth=1, context_features=3)
    >>> network(torch.zeros(5, 2 * 16 + 3)).shape
    torch.Size([5, 96])
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
        self.blocks = nn.ModuleList(ResidualBlock(grid, width, context_features) for _ in range(depth))
        self.between = nn.ModuleList(between() for _ in range(depth))
        self.leave = zero_init(Convolution(grid, width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Flattened channels and context (B, inputs * cells + C) to (B, outputs * cells)."""
        count = x.shape[1] - self.context_features
        context = x[:, count:] if self.context_features else None
        hidden = self.enter(x[:, :count].unflatten(1, self.shape))
        for block, between in zip(self.blocks, self.between, strict=True):
            hidden = between(block(hidden, context))
        return self.leave(F.silu(normalized(hidden))).flatten(1)


ImageConditionerFactory = Callable[[Field, int, int], nn.Module]
"""factory(grid, input channels, output channels) -> the network of a `Coupling`."""


def squeeze(field: Field, *, kind: str) -> tuple[Tensor, Field]:
    """The permutation of a flattened field that halves every even axis into channels, and the field that results.

    Raises:
        ConfigError: no axis can be halved; the message names the family's `kind`.

    >>> order, squeezed = squeeze(Field(channels=1, grid=(2, 4)), kind="glow")
    >>> order.tolist(), squeezed.shape
    ([0, 2, 1, 3, 4, 6, 5, 7], (4, 1, 2))
    """
    factors = [2 if side % 2 == 0 else 1 for side in field.grid]
    if all(factor == 1 for factor in factors):
        raise ConfigError(
            f"{kind}.levels: a level halves the axes that are even, found a grid of {list(field.grid)} at one of them; "
            "choose fewer levels, or pad the field."
        )
    sides = [size for side, factor in zip(field.grid, factors, strict=True) for size in (side // factor, factor)]
    positions = torch.arange(field.channels * _cells(field)).reshape(field.channels, *sides)
    blocks, within = range(1, positions.ndim, 2), range(2, positions.ndim, 2)
    grid = tuple(side // factor for side, factor in zip(field.grid, factors, strict=True))
    channels = field.channels * _cells(field) // _cells(field.model_copy(update={"grid": grid}))
    squeezed = field.model_copy(update={"grid": grid, "channels": channels})
    return positions.permute(0, *within, *blocks).flatten(), squeezed


def _cells(field: Field) -> int:
    return torch.Size(field.grid).numel()


def rotation(channels: int) -> Tensor:
    """A random rotation or reflection (C, C).

    >>> matrix = rotation(3)
    >>> torch.allclose(matrix @ matrix.T, torch.eye(3), atol=1e-6)
    True
    """
    return torch.linalg.qr(torch.randn(channels, channels)).Q


def image_steps(
    field: Field,
    steps: int,
    univariate: Univariate,
    conditioner: ImageConditionerFactory,
    initial: Callable[[int], Tensor],
) -> list[LazyTransform]:
    """Steps of scale, 1x1 convolution and coupling on a flattened field of two channels or more.

    Args:
        field: its shape.
        steps: how many.
        univariate: the bijections of the couplings.
        conditioner: makes the network of each coupling.
        initial: gives the initial matrix of a convolution for a number of channels.

    >>> def conditioner(grid, inputs, outputs):
    ...     return ImageNetwork(grid, inputs, outputs, width=8, depth=1, context_features=0)
    >>> lazies = image_steps(Field(channels=4, grid=(2, 2)), 1, Affine(), conditioner, rotation)
    >>> [type(lazy).__name__ for lazy in lazies]
    ['ActNorm', 'LULinear', 'Coupling']
    """
    channels, cells = field.channels, _cells(field)
    identity = channels // 2
    transforms: list[LazyTransform] = []
    for _ in range(steps):
        network = conditioner(field, identity, univariate.size * (channels - identity))
        coupling = Coupling(network, univariate, identity * cells, first=False)
        transforms += [ActNorm(channels, cells), LULinear(initial(channels)), coupling]
    return transforms


def multi_scale(
    field: Field,
    levels: int,
    steps: int,
    univariate: Univariate,
    conditioner: ImageConditionerFactory,
    initial: Callable[[int], Tensor],
    *,
    kind: str,
) -> list[LazyTransform]:
    """All levels on a flattened field, with `steps` at each; other arguments as of `image_steps`.

    The last permutation puts each code at the position of one of the cells that it was computed from.

    Raises:
        ConfigError: a grid that cannot be halved so often; the message names the family's `kind`.

    >>> def conditioner(grid, inputs, outputs):
    ...     return ImageNetwork(grid, inputs, outputs, width=8, depth=1, context_features=0)
    >>> lazies = multi_scale(Field(channels=1, grid=(4, 4)), 2, 1, Affine(), conditioner, rotation, kind="glow")
    >>> x = torch.randn(5, 16)
    >>> for lazy in lazies:
    ...     x = lazy(None)(x)
    >>> x.shape
    torch.Size([5, 16])
    """
    transforms: list[LazyTransform] = []
    positions = torch.arange(field.channels * _cells(field))
    for level in range(levels):
        if level:  # split: half of the channels become code, relative to a learned prior given the other half
            kept = field.model_copy(update={"channels": field.channels // 2})
            network = conditioner(field, kept.channels, Affine().size * (field.channels - kept.channels))
            split_prior = Coupling(network, Affine(), kept.channels * _cells(field), first=False)
            transforms.append(Leading(split_prior, field.channels * _cells(field)))
            field = kept
        order, field = squeeze(field, kind=kind)
        count = len(order)
        positions = torch.cat((positions[order], positions[count:]))
        of_level = [Permutation(order), *image_steps(field, steps, univariate, conditioner, initial)]
        transforms += [Leading(lazy, count) for lazy in of_level]
    return [*transforms, Permutation(positions.argsort())]


@families.register("glow")
class GlowConfig(FlowConfig):
    """Multi-scale flow of images with invertible 1x1 convolutions.

    >>> from maquette.core.noise import KeyedNoise
    >>> flow = GlowConfig(levels=2, steps=1, width=8).build(Field(channels=1, grid=(4, 4)))
    >>> x = flow.sample(5, noise=KeyedNoise(0, torch.arange(5)))
    >>> x.shape, flow.log_prob(x).shape
    (torch.Size([5, 1, 4, 4]), torch.Size([5]))
    """

    summary: ClassVar[str] = "images by channel scales, 1x1 convolutions and couplings, on ever coarser grids"
    reference: ClassVar[str] = "Kingma & Dhariwal, arXiv:1807.03039"
    spaces: ClassVar[tuple[str, ...]] = ("field",)

    kind: Literal["glow"] = "glow"
    levels: int = Described(default=2, ge=1, description="grids, each with its even axes half as long as before")
    steps: int = Described(default=8, ge=1, description="steps at each level")
    width: int = Described(default=64, ge=1, description="hidden channels of the couplings' networks")
    depth: int = Described(default=1, ge=1, description="residual blocks of a network")

    def build(self, space: Space, condition: Space | None = None) -> Flow:
        layout = Layout(space, condition)
        field = require_field(self.kind, space)

        def conditioner(grid: Field, inputs: int, outputs: int) -> nn.Module:
            return ImageNetwork(
                grid, inputs, outputs, width=self.width, depth=self.depth, context_features=layout.context_features
            )

        # a random field is close to the data, so that over it the flow starts as the identity
        initial = rotation if self.exchangeable else torch.eye
        transforms = multi_scale(field, self.levels, self.steps, Affine(), conditioner, initial, kind=self.kind)
        return Flow(layout, transforms, self.base.build(layout))

    @classmethod
    def example(cls) -> GlowConfig:
        return cls(levels=1, steps=2, width=8)


def require_field(kind: str, space: Space) -> Field:
    """Return the space if it is a field with one to three axes; raises `ConfigError` otherwise.

    >>> require_field("glow", Field(channels=1, grid=(2, 2, 2, 2)))
    Traceback (most recent call last):
    maquette.core.errors.ConfigError: glow: expected a grid of one, two or three axes, found [2, 2, 2, 2].
    """
    if not isinstance(space, Field):
        raise ConfigError(f"{kind}: expected a field, found a {space.kind}; use a flow of vectors.")
    if len(space.grid) not in CONVOLUTIONS:
        raise ConfigError(f"{kind}: expected a grid of one, two or three axes, found {list(space.grid)}.")
    return space
