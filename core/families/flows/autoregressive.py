"""Autoregressive flows: each feature is transformed given the features before it, and the context.

The scheme of Papamakarios et al., "Masked autoregressive flow" (MAF), arXiv:1705.07057, for any univariate bijection,
and the family with shifts and scales. A density takes one pass, a sample one pass per feature. The inverse is the
inverse autoregressive flow (IAF) of Kingma et al., arXiv:1606.04934, where a sample takes one pass. With fewer `passes`
the features form blocks that are transformed together; two passes make a coupling.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F
from zuko.transforms import AutoregressiveTransform

from ...config import Width
from ...layout import Layout
from ...nets.masked import MaskedMLP
from ...spaces import Space
from .. import families
from .bijection import Bijection, DependentTransform, LazyTransform, ZukoTransform
from .coupling import mlp_conditioners, single_feature
from .elementwise import Affine, Univariate
from .flow import Flow, FlowConfig, LazyInverse


class Autoregression(LazyTransform):
    """Lazy autoregressive transform of x (B, D): features of one block are transformed given those of earlier blocks.

    Where a hidden layer has fewer units than there are degrees, the output layer also sees the features directly, as
    x / (1 + |x|): bounded, so that outliers cannot destabilise the sequential inverse.

    Args:
        blocks: the block of each feature, (D,), int64 from 0.
        context_features: C, features of the context.
        hidden: widths of the network's hidden layers.
        univariate: the bijections.

    >>> lazy = Autoregression(torch.arange(3), 0, (16,), Affine())
    >>> y, ladj = lazy(None).call_and_ladj(torch.randn(5, 3))
    >>> y.shape, ladj.shape, lazy.passes
    (torch.Size([5, 3]), torch.Size([5]), 3)
    """

    def __init__(self, blocks: Tensor, context_features: int, hidden: Sequence[int], univariate: Univariate) -> None:
        super().__init__()
        self.passes = int(blocks.max()) + 1
        degrees = self.passes if context_features else self.passes - 1
        narrow = any(width < degrees for width in hidden)
        self.network = MaskedMLP(
            blocks,
            univariate.size,
            hidden,
            context_features=context_features,
            activation=F.silu,
            skip=F.softsign if narrow else None,
        )
        self.univariate = univariate

    def forward(self, context: Tensor | None) -> Bijection:
        def meta(x: Tensor) -> Bijection:
            return DependentTransform(self.univariate(self.network(x, context).transpose(-1, -2)))

        return ZukoTransform(AutoregressiveTransform(meta, self.passes))

    def extra_repr(self) -> str:
        return f"univariate={self.univariate}, passes={self.passes}"


def autoregressions(
    layout: Layout, univariates: Iterable[Univariate], hidden: Sequence[int], *, passes: int | None = None
) -> list[LazyTransform]:
    """One autoregressive transform for each set of bijections; every second one reverses the order of the features.

    Args:
        layout: of the samples.
        univariates: the bijections of each transform.
        hidden: widths of each network's hidden layers; the networks start as the zero function.
        passes: passes of the inverse; one per feature if None.

    >>> from maquette.core.spaces import Vector
    >>> autoregressions(Layout(Vector(dim=6)), [Affine()], (16,), passes=2)
    [Autoregression(
      univariate=Affine(bound=2.0, size=2), passes=2
      (network): MaskedMLP(
        features=6, outputs=2, masks=1
        (hidden): ModuleList(
          (0): MaskedLinear(in_features=6, out_features=16)
        )
        (output): MaskedLinear(in_features=16, out_features=12)
      )
    )]
    """
    if layout.features == 1:
        return [single_feature(layout, univariate, mlp_conditioners(layout, hidden)) for univariate in univariates]
    order = torch.arange(layout.features)
    block_size = -(-layout.features // min(passes or layout.features, layout.features))
    return [
        Autoregression((order.flip(0) if i % 2 else order) // block_size, layout.context_features, hidden, univariate)
        for i, univariate in enumerate(univariates)
    ]


@families.register("autoregressive-flow")
class AutoregressiveFlowConfig(FlowConfig):
    """Autoregressive flow of shifts and scales: MAF, or IAF for quick samples.

    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> flow = AutoregressiveFlowConfig(transforms=2, hidden=(16,)).build(Vector(dim=3), Vector(dim=2))
    >>> condition, noise = torch.randn(5, 2), KeyedNoise(0, torch.arange(5))
    >>> x = flow.sample(5, condition, noise=noise)
    >>> x.shape, flow.log_prob(x, condition).shape
    (torch.Size([5, 3]), torch.Size([5]))
    """

    summary: ClassVar[str] = "each feature is shifted and scaled given those before it (MAF, or IAF as its inverse)"
    reference: ClassVar[str] = "Papamakarios et al., arXiv:1705.07057; Kingma et al., arXiv:1606.04934"

    kind: Literal["autoregressive-flow"] = "autoregressive-flow"
    quick: Literal["density", "sampling"] = Field(
        default="density",
        description="what takes one pass: the density (MAF) or a sample (IAF); the other takes several",
    )
    transforms: int = Field(default=5, ge=1, description="autoregressive transforms; every second one in reverse order")
    hidden: tuple[Width, ...] = Field(default=(128, 128), description="widths of each network's hidden layers")
    passes: int | None = Field(
        default=None, ge=2, description="passes of the slow direction; one per feature if not set"
    )

    def build(self, space: Space, condition: Space | None = None) -> Flow:
        layout = Layout(space, condition)
        transforms = autoregressions(layout, self.transforms * [Affine()], self.hidden, passes=self.passes)
        if self.quick == "sampling":
            transforms = [LazyInverse(lazy) for lazy in transforms]
        return Flow(layout, transforms, self.base.build(layout))

    @classmethod
    def example(cls) -> AutoregressiveFlowConfig:
        return cls(transforms=2, hidden=(16,))
