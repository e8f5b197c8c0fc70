"""Autoregressive flows: every number is bent as the numbers before it, and the condition, say.

The scheme of Papamakarios et al., "Masked autoregressive flow" (MAF), arXiv:1705.07057, for any elementwise bijection,
and the family of its shifts and scales. The density is one pass, a sample one pass per number. Turned round it is the
inverse autoregressive flow (IAF) of Kingma et al., arXiv:1606.04934, whose samples are one pass. `passes` makes blocks
of numbers that are bent together (two passes are a coupling).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Transform
from torch.nn import functional as F
from zuko.transforms import AutoregressiveTransform, DependentTransform

from ...config import Width
from ...layout import Layout
from ...nets.masked import MaskedLinear, evenly_spaced_degrees
from ...spaces import Space
from .. import families
from .coupling import lone, perceptrons
from .elementwise import Affine, Elementwise
from .flow import Flow, FlowConfig, Inverted


class MaskedMLP(nn.Module):
    """An MLP of rows (B, D), and context (B, C) that every layer sees, to (B, D, P); starts as the zero function.

    What it says of a number depends on all numbers of the blocks before that one's, and on no other. Where a hidden
    layer has fewer units than there are blocks to tell apart, the outputs see the numbers x directly, too: bent to
    x / (1 + |x|), for a sample is drawn number upon number, and what lies far out would drive all that follow.

    Args:
        blocks: the block of each number, (D,), int64 from 0 on.
        context_features: C, features of the context.
        hidden: widths.
        outputs: P.
    """

    blocks: Tensor
    hidden: Any  # a list of masked layers

    def __init__(self, blocks: Tensor, context_features: int, hidden: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.register_buffer("blocks", blocks)
        numbers, last = len(blocks), int(blocks.max())
        least = 0 if context_features else 1  # units that see no number are of use where there is a condition
        self.outputs, self.direct = outputs, any(width < last - least + 1 for width in hidden)
        for layer, width in enumerate(hidden):
            self.register_buffer(f"reaches{layer}", evenly_spaced_degrees(least, last, width))
        widths = (numbers, *hidden)
        self.hidden = nn.ModuleList(MaskedLinear(a + context_features, b) for a, b in pairwise(widths))
        self.leave = MaskedLinear(widths[-1] + (numbers if self.direct else 0) + context_features, numbers * outputs)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, rows: Tensor, context: Tensor | None) -> Tensor:
        free = rows[..., :0] if context is None else context
        none, numbers = self.blocks.new_zeros(free.shape[-1]), self.blocks + 1
        x, reach = rows, numbers
        for layer, masked in enumerate(self.hidden):
            gives = getattr(self, f"reaches{layer}")
            x, reach = F.silu(masked(torch.cat((x, free), dim=-1), torch.cat((reach, none)), gives)), gives
        if self.direct:
            x, reach = torch.cat((x, F.softsign(rows)), dim=-1), torch.cat((reach, numbers))
        given = self.blocks.repeat_interleave(self.outputs)
        told = self.leave(torch.cat((x, free), dim=-1), torch.cat((reach, none)), given)
        return told.unflatten(-1, (-1, self.outputs))


class Autoregression(nn.Module):
    """Lazy autoregressive transform of rows (B, D): numbers of one block are bent as those of the blocks before say."""

    def __init__(self, blocks: Tensor, context_features: int, hidden: Sequence[int], elementwise: Elementwise) -> None:
        super().__init__()
        self.network = MaskedMLP(blocks, context_features, hidden, elementwise.size)
        self.elementwise, self.passes = elementwise, int(blocks.max()) + 1

    def forward(self, context: Tensor | None) -> Transform:
        def meta(x: Tensor) -> Transform:
            return DependentTransform(self.elementwise(self.network(x, context).transpose(-1, -2)), 1)

        return AutoregressiveTransform(meta, self.passes)


def autoregressions(
    layout: Layout, bijections: Iterable[Elementwise], hidden: Sequence[int], *, passes: int | None = None
) -> list[nn.Module]:
    """An autoregressive transform by each of some bijections; every second one sees the numbers backwards.

    Args:
        hidden: widths of each network's hidden layers; the networks start as the zero function.
        passes: passes of the inverse; one per number if None.
    """
    if layout.features == 1:
        return [lone(layout, elementwise, perceptrons(layout, hidden)) for elementwise in bijections]
    order = torch.arange(layout.features)
    together = -(-layout.features // min(passes or layout.features, layout.features))
    return [
        Autoregression((order.flip(0) if i % 2 else order) // together, layout.context_features, hidden, elementwise)
        for i, elementwise in enumerate(bijections)
    ]


@families.register("autoregressive-flow")
class AutoregressiveFlowConfig(FlowConfig):
    """Autoregressive flow of shifts and scales: MAF, or IAF if samples shall be quick."""

    summary: ClassVar[str] = "each number is shifted and scaled as those before it say (MAF; IAF the other way round)"
    reference: ClassVar[str] = "Papamakarios et al., arXiv:1705.07057; Kingma et al., arXiv:1606.04934"

    kind: Literal["autoregressive-flow"] = "autoregressive-flow"
    quick: Literal["density", "sampling"] = Field(
        default="density", description="what takes one pass: the density (MAF) or a sample (IAF); the other takes many"
    )
    transforms: int = Field(default=5, ge=1, description="autoregressive transforms; every second one runs backwards")
    hidden: tuple[Width, ...] = Field(default=(128, 128), description="widths of each network's hidden layers")
    passes: int | None = Field(default=None, ge=2, description="passes of the slow way; one per number if not set")

    def build(self, space: Space, condition: Space | None = None) -> Flow:
        layout = Layout(space, condition)
        transforms = autoregressions(layout, self.transforms * [Affine()], self.hidden, passes=self.passes)
        turned = transforms if self.quick == "density" else map(Inverted, transforms)
        return Flow(layout, turned, self.base.build(layout))

    @classmethod
    def example(cls) -> AutoregressiveFlowConfig:
        return cls(transforms=2, hidden=(16,))
