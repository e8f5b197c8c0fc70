"""Autoregressive flows: every number is bent as the numbers before it, and the condition, say.

The scheme of Papamakarios et al., "Masked autoregressive flow" (MAF), arXiv:1705.07057, on zuko's masked networks, for
any elementwise bijection, and the family of its shifts and scales. The density is one pass, a sample one pass per
number. Turned round it is the inverse autoregressive flow (IAF) of Kingma et al., arXiv:1606.04934, whose samples are
one pass. `passes` makes blocks of numbers that are bent together (two passes are a coupling).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Transform
from zuko.flows.autoregressive import MaskedAutoregressiveTransform

from ...layout import Layout
from ...spaces import Space
from .. import families
from .elementwise import Affine, Elementwise
from .flow import Flow, FlowConfig, Inverted


class Univariate(nn.Module):
    """An elementwise bijection as zuko calls it, with the parameters of a number laid last: (..., D, P)."""

    def __init__(self, elementwise: Elementwise) -> None:
        super().__init__()
        self.elementwise = elementwise

    def forward(self, parameters: Tensor) -> Transform:
        return self.elementwise(torch.atleast_2d(parameters).transpose(-1, -2))


def autoregressions(
    layout: Layout, bijections: Iterable[Elementwise], hidden: Sequence[int], *, passes: int | None = None
) -> list[nn.Module]:
    """An autoregressive transform by each of some bijections; every second one sees the numbers backwards.

    Args:
        hidden: widths of each masked network's hidden layers; the networks start as the zero function.
        passes: passes of the inverse; one per number if None.
    """
    return [
        _autoregression(layout, hidden, elementwise, passes=passes, backwards=i % 2 == 1)
        for i, elementwise in enumerate(bijections)
    ]


def _autoregression(
    layout: Layout, hidden: Sequence[int], elementwise: Elementwise, *, passes: int | None, backwards: bool
) -> nn.Module:
    order = torch.arange(layout.width)
    transform = MaskedAutoregressiveTransform(
        layout.width,
        layout.context,
        passes=passes,
        order=order.flip(0) if backwards else order,  # type: ignore[arg-type]
        univariate=Univariate(elementwise),
        shapes=[torch.Size((elementwise.size,))],
        hidden_features=hidden,
        activation=nn.SiLU,
    )
    # one number without condition has bare parameters in place of a network
    last = transform.hyper[-1].parameters() if hasattr(transform, "hyper") else transform.phi  # type: ignore[index]
    for parameter in last:  # type: ignore[union-attr]
        nn.init.zeros_(parameter)
    return transform


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
    hidden: tuple[int, ...] = Field(default=(128, 128), description="widths of each network's hidden layers")
    passes: int | None = Field(default=None, ge=2, description="passes of the slow way; one per number if not set")

    def build(self, space: Space, condition: Space | None = None) -> Flow:
        layout = Layout(space, condition)
        transforms = autoregressions(layout, self.transforms * [Affine()], self.hidden, passes=self.passes)
        turned = transforms if self.quick == "density" else map(Inverted, transforms)
        return Flow(layout, turned, self.base.build(layout))

    @classmethod
    def example(cls) -> AutoregressiveFlowConfig:
        return cls(transforms=2, hidden=(16,))
