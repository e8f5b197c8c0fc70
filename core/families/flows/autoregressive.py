"""Autoregressive flows: every number is bent as the numbers before it, and the condition, say.

The scheme of Papamakarios et al., "Masked autoregressive flow" (MAF), arXiv:1705.07057, for any elementwise bijection,
and the family of its shifts and scales. The density is one pass, a sample one pass per number. Turned round it is the
inverse autoregressive flow (IAF) of Kingma et al., arXiv:1606.04934, whose samples are one pass. `passes` makes blocks
of numbers that are bent together (two passes are a coupling).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Transform
from torch.nn import functional as F
from zuko.transforms import AutoregressiveTransform, DependentTransform

from ...config import Width
from ...layout import Layout
from ...nets.masked import MaskedMLP
from ...spaces import Space
from .. import families
from .coupling import lone, perceptrons
from .elementwise import Affine, Elementwise
from .flow import Flow, FlowConfig, Inverted


class Autoregression(nn.Module):
    """Lazy autoregressive transform (B, D): features of one block are transformed given those of earlier blocks.

    Where a hidden layer has fewer units than there are blocks to tell apart, the network's outputs see the features x
    directly, too, as x / (1 + |x|): outliers cannot destabilise the sequential inverse.

    Args:
        blocks: the block of each feature, (D,), int64 from 0.
        context_features: C, features of the context.
        hidden: widths of the network's hidden layers.
        elementwise: the transform of one feature.
    """

    def __init__(self, blocks: Tensor, context_features: int, hidden: Sequence[int], elementwise: Elementwise) -> None:
        super().__init__()
        self.passes = int(blocks.max()) + 1
        degrees = self.passes if context_features else self.passes - 1
        narrow = any(width < degrees for width in hidden)
        self.network = MaskedMLP(
            blocks,
            elementwise.size,
            hidden,
            context_features=context_features,
            activation=F.silu,
            skip=F.softsign if narrow else None,
        )
        self.elementwise = elementwise

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
