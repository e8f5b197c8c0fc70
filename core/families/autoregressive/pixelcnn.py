"""Gated PixelCNN: a field is drawn cell by cell, each seen by masked convolutions over those before it.

van den Oord et al., "Conditional image generation with PixelCNN decoders", arXiv:1606.05328. One stack of convolutions
sees the rows above, another the cells to the left and the first stack: together all cells before, no blind spot. The
PixelCNN++ of Salimans et al., arXiv:1701.05517, is the same with `skips` between the layers of a first and a second
half and `likelihood: {kind: logistic-mixture}`; `dilations` see far in place of its coarser grids.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field as Described
from torch import Tensor, nn

from ...errors import ConfigError
from ...layout import Layout
from ...likelihoods import SUPPORTS, AnyLikelihood, Likelihood, likelihood_of
from ...nets.causal import CausalConv, Memory, gate, shift
from ...nets.triangular import Channels
from ...samplers.ancestral import Step
from ...spaces import Field, Space
from .. import FamilyConfig, families
from .model import Autoregressive, kept
from .raster import raster

Steering = tuple[Tensor | None, Tensor | None]
"""What the condition adds to a stack of a layer before its gate, and what dropout multiplies it with behind."""


def added(*terms: Tensor | None) -> Tensor:
    """The sum of what there is."""
    first, *others = (term for term in terms if term is not None)
    return sum(others, first)


class Above(nn.Module):
    """Gated layer of the stack that sees the rows above (Fig. 2 of the paper, left), with a residual.

    Args:
        features: F, of either stack.
        kernel: cells seen along a row; half as many rows.
        dilation: distance of the cells seen.
        periodic: whether rows wrap.
        skip: whether it sees an earlier layer in addition.
    """

    def __init__(self, features: int, kernel: int, dilation: int, *, periodic: bool, skip: bool) -> None:
        super().__init__()
        self.conv = CausalConv(
            features, 2 * features, kernel // 2 + 1, axis=2, across=kernel, dilation=dilation, periodic=periodic
        )
        self.skip = nn.Conv2d(features, 2 * features, 1) if skip else None
        self.link = nn.Conv2d(2 * features, 2 * features, 1)

    def forward(
        self, v: Tensor, earlier: Tensor | None, steering: Steering, memory: Memory | None
    ) -> tuple[Tensor, Tensor]:
        """Features (B, F, R, C) to those behind the layer, and to what the other stack is shown (B, 2 F, R, C)."""
        bias, keep = steering
        before = added(self.conv(v, memory), bias, None if self.skip is None else self.skip(earlier))
        return v + kept(gate(before), keep), self.link(before)


class Left(nn.Module):
    """Gated layer of the stack that sees the cells to the left and the other stack (Fig. 2, right)."""

    def __init__(self, features: int, kernel: int, dilation: int, *, skip: bool) -> None:
        super().__init__()
        self.conv = CausalConv(features, 2 * features, kernel // 2 + 1, axis=3, dilation=dilation)
        self.skip = nn.Conv2d(features, 2 * features, 1) if skip else None
        self.leave = nn.Conv2d(features, features, 1)

    def forward(
        self, h: Tensor, link: Tensor, earlier: Tensor | None, steering: Steering, memory: Memory | None
    ) -> Tensor:
        """Features (B, F, R, C) to those behind the layer."""
        bias, keep = steering
        before = added(self.conv(h, memory), link, bias, None if self.skip is None else self.skip(earlier))
        return h + self.leave(kept(gate(before), keep))


class PixelCNN(nn.Module):
    """The network: inputs (B, D, K) in raster order and context (B, C) to parameters (B, D, P).

    Args:
        field: of two axes.
        context_features: C, features of the context.
        law: of each number.
        config: sizes.
    """

    def __init__(self, field: Field, context_features: int, law: Likelihood, config: PixelCNNConfig) -> None:
        super().__init__()
        self.height, self.width = field.grid
        self.numbers, self.embed_dim, self.dropout = field.channels, law.embed_dim, config.dropout
        periodic = bool(field.periodic) and field.periodic[1]
        features, depth = config.features, config.depth
        self.dropped = (depth, 2, features)
        inputs = self.numbers * self.embed_dim + 1  # and a one, which tells the grid from its surroundings
        self.enter_above = CausalConv(
            inputs, features, config.first // 2, axis=2, across=config.first, periodic=periodic
        )
        self.enter_left = CausalConv(inputs, features, config.first // 2, axis=3)
        dilations = [config.dilations[i % len(config.dilations)] for i in range(depth)]
        self.skips = [config.skips and i > depth - 1 - i for i in range(depth)]
        self.above = nn.ModuleList(
            Above(features, config.kernel, dilation, periodic=periodic, skip=skip)
            for dilation, skip in zip(dilations, self.skips, strict=True)
        )
        self.left = nn.ModuleList(
            Left(features, config.kernel, dilation, skip=skip)
            for dilation, skip in zip(dilations, self.skips, strict=True)
        )
        self.condition = nn.Linear(context_features, 4 * features * depth, bias=False) if context_features else None
        self.channels = Channels(self.numbers, self.embed_dim, features, law.parameters)

    def forward(self, inputs: Tensor, context: Tensor | None, keep: Tensor | None = None) -> Tensor:
        """Parameters (B, D, P); `keep` (B, *dropped) multiplies features."""
        grid = inputs.reshape(inputs.shape[0], self.height, self.width, -1).permute(0, 3, 1, 2)
        grid = torch.cat((grid, torch.ones_like(grid[:, :1])), dim=1)
        steering = self._steering(context, keep)
        links = self._rows(self.enter_above(shift(grid, 2)), steering)
        h = self._cells(self.enter_left(shift(grid, 3)), links, steering)
        cells = inputs.reshape(-1, self.numbers, self.embed_dim)
        return self.channels(cells, h.permute(0, 2, 3, 1).flatten(0, 2)).reshape(*inputs.shape[:2], -1)

    def steps(self, context: Tensor | None, like: Tensor) -> Step:
        """Draw with the features of earlier rows and cells remembered (`Incremental`)."""
        return self._draw(context, like).send

    def _draw(self, context: Tensor | None, like: Tensor) -> Generator[Tensor, Any, None]:
        steering = self._steering(context, None)
        blank = like.new_zeros(like.shape[0], self.numbers * self.embed_dim + 1, 1, 1)
        row, rows = blank.expand(-1, -1, -1, self.width), Memory()
        for _ in range(self.height):
            links = self._rows(self.enter_above(row, rows), steering, rows)
            cells, left = [blank], Memory()
            for place in range(self.width):
                here = [link[..., place : place + 1] for link in links]
                h = self._cells(self.enter_left(cells[-1], left), here, steering, left)
                drawn = like.new_zeros(like.shape[0], self.numbers, self.embed_dim)
                for number in range(self.numbers):
                    drawn[:, number] = yield self.channels(drawn, h.flatten(1))[:, number]
                cells.append(torch.cat((drawn.flatten(1), torch.ones_like(drawn[:, 0, :1])), dim=1)[..., None, None])
            row = torch.cat(cells[1:], dim=3)

    def _rows(self, v: Tensor, steering: list[list[Steering]], memory: Memory | None = None) -> list[Tensor]:
        """What each layer of the stack that sees rows above shows to the other."""
        seen, links = [], []
        for i, layer in enumerate(self.above):
            v, link = layer(v, self._earlier(i, seen), steering[i][0], memory)
            seen.append(v)
            links.append(link)
        return links

    def _cells(
        self, h: Tensor, links: list[Tensor], steering: list[list[Steering]], memory: Memory | None = None
    ) -> Tensor:
        """Features of each cell, of all that is before it."""
        seen = []
        for i, layer in enumerate(self.left):
            h = layer(h, links[i], self._earlier(i, seen), steering[i][1], memory)
            seen.append(h)
        return h

    def _earlier(self, i: int, seen: list[Tensor]) -> Tensor | None:
        """The layer of the first half that mirrors layer i, where that skips back."""
        return seen[len(self.skips) - 1 - i] if self.skips[i] else None

    def _steering(self, context: Tensor | None, keep: Tensor | None) -> list[list[Steering]]:
        """By layer and stack."""
        depth = len(self.skips)
        biases = None if self.condition is None else self.condition(context).unflatten(1, (depth, 2, -1))

        def at(layer: int, stack: int) -> Steering:
            bias, mask = (None if each is None else each[:, layer, stack, :, None, None] for each in (biases, keep))
            return bias, mask

        return [[at(layer, 0), at(layer, 1)] for layer in range(depth)]


@families.register("pixelcnn")
class PixelCNNConfig(FamilyConfig):
    """Gated PixelCNN; with `skips` and a logistic mixture PixelCNN++."""

    summary: ClassVar[str] = "fields cell by cell, by gated convolutions over the rows above and the cells to the left"
    reference: ClassVar[str] = "van den Oord et al., arXiv:1606.05328; Salimans et al., arXiv:1701.05517"
    spaces: ClassVar[tuple[str, ...]] = ("field",)
    supports: ClassVar[tuple[str, ...]] = ("binary", "levels", "interval", "real")
    model: ClassVar[type[nn.Module]] = Autoregressive

    kind: Literal["pixelcnn"] = "pixelcnn"
    features: int = Described(default=64, ge=1, description="features of either stack")
    depth: int = Described(default=10, ge=1, description="gated layers")
    kernel: int = Described(default=5, ge=3, description="cells that a layer sees along a row, odd")
    first: int = Described(default=7, ge=3, description="cells that the first convolution sees along a row, odd")
    dilations: tuple[int, ...] = Described(default=(1,), min_length=1, description="of the layers in turn")
    skips: bool = Described(default=False, description="layers of the second half see those of the first, mirrored")
    dropout: float = Described(default=0.0, ge=0, lt=1, description="share of a layer's features dropped in training")
    likelihood: AnyLikelihood | None = None

    def build(self, space: Space, condition: Space | None = None) -> Autoregressive:
        layout = Layout(space, condition, SUPPORTS)
        if not isinstance(space, Field) or len(space.grid) != 2:
            found = f"one of {len(space.grid)}" if isinstance(space, Field) else f"a {space.kind}"
            raise ConfigError(f"pixelcnn: expected a field of 2 axes, found {found}; use transformer or recurrent.")
        for name, side in (("kernel", self.kernel), ("first", self.first)):
            if side % 2 == 0:
                raise ConfigError(f"pixelcnn.{name}: expected an odd number of cells, found {side}; try {side + 1}.")
        if min(self.dilations) < 1:
            raise ConfigError(f"pixelcnn.dilations: expected distances from 1 on, found {list(self.dilations)}.")
        law: Any = likelihood_of(layout.support, self.likelihood)
        return Autoregressive(layout, law, PixelCNN(space, layout.context_features, law, self), raster(space))

    @classmethod
    def example(cls) -> PixelCNNConfig:
        return cls(features=6, depth=3, kernel=3, first=5, dilations=(1, 2), skips=True)
