"""What all flows share: a base distribution under conditional transforms, fitted by maximum likelihood."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from ...bases import Base, BaseConfig, Normal, NormalConfig
from ...data import Batch
from ...layout import Layout
from ...noise import Noise
from ...objective import Losses, Objective, Player, Stage
from ...spaces import Tree
from .. import FamilyConfig
from .bijection import Bijection, InverseTransform, LazyTransform


class Flow(nn.Module):
    """A density by change of variables: log p(x | c) = log p_base(f(x; c)) + log |det df/dx|.

    Args:
        layout: how samples are flattened to x (B, D) and conditions embedded as context (B, C).
        transforms: lazy transforms from data towards noise, as zuko orders them.
        base: distribution of the codes; independent standard normals if not given.

    >>> from maquette.core.families.flows.elementwise import Affine, Elementwise
    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> layout = Layout(Vector(dim=2))
    >>> flow = Flow(layout, [Elementwise(layout, Affine())])
    >>> x = flow.sample(3, noise=KeyedNoise(0, torch.arange(3)))
    >>> x.shape, torch.equal(flow.decode(flow.encode(x)), x)
    (torch.Size([3, 2]), True)
    """

    def __init__(self, layout: Layout, transforms: Iterable[LazyTransform], base: Base | None = None) -> None:
        super().__init__()
        self.layout = layout
        self.transforms = nn.ModuleList(transforms)
        self.base: Base = Normal(layout) if base is None else base
        """Distribution of the codes that `encode` returns."""

    @property
    def likelihood_notes(self) -> tuple[str, ...]:
        return (self.base.description,)

    def forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """x (B, D) and context (B, C) to (codes (B, D), log-determinant (B,))."""
        total = torch.zeros_like(x[:, 0])
        for lazy in self.transforms:
            x, ladj = lazy(context).call_and_ladj(x)
            total = total + ladj
        return x, total

    def inverse(self, z: Tensor, context: Tensor | None) -> Tensor:
        """Codes (B, D) and context (B, C) to x (B, D)."""
        for lazy in reversed(self.transforms):
            z = lazy(context).inverse(z)
        return z

    def log_prob_flat(self, x: Tensor, context: Tensor | None) -> Tensor:
        """`log_prob` of flat samples (B, D) given context (B, C)."""
        z, ladj = self(x, context)
        return self.base.log_prob(z, context) + ladj

    def log_prob(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """Exact log-density, shape (B,), nats."""
        flat = self.layout.flatten(x)
        return self.log_prob_flat(flat, self.layout.context(condition, flat).vector)

    def encode(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """The code (B, D) of x."""
        flat = self.layout.flatten(x)
        return self(flat, self.layout.context(condition, flat).vector)[0]

    def decode(self, z: Tensor, condition: Tree | None = None) -> Tree:
        """The sample whose code is z (B, D)."""
        return self.layout.unflatten(self.inverse(z, self.layout.context(condition, z).vector))

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Draw n samples; reads the noise "prior" (D,)."""
        white = self.base.white(n, noise)
        context = self.layout.context(condition, white).vector
        return self.layout.unflatten(self.inverse(self.base.color(white, context), context))

    def stages(self) -> list[Stage]:
        return [Stage("fit", (Player("model", FlowObjective(self), (self,)),))]


class FlowObjective(Objective):
    """Negative log-likelihood per feature, nats.

    >>> from maquette.core.families.flows.linear import LinearConfig
    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> objective, index = FlowObjective(LinearConfig().build(Vector(dim=2))), torch.arange(1)
    >>> objective(Batch(torch.zeros(1, 2), None, index), KeyedNoise(0, index)).losses.detach()  # 1/2 log 2 pi
    tensor([0.9189])
    """

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        layout = self.flow.layout
        flat = layout.flatten(batch.x)
        return Losses(-self.flow.log_prob_flat(flat, layout.context(batch.condition, flat).vector) / layout.features)


class LazyInverse(LazyTransform):
    """The inverse of a lazy transform.

    >>> from maquette.core.families.flows.coupling import Permutation
    >>> order = torch.tensor([2, 0, 1])
    >>> x = torch.tensor([5.0, 6.0, 7.0])
    >>> LazyInverse(Permutation(order))(None)(Permutation(order)(None)(x))
    tensor([5., 6., 7.])
    """

    def __init__(self, lazy: LazyTransform) -> None:
        super().__init__()
        self.lazy = lazy

    def forward(self, context: Tensor | None) -> Bijection:
        return InverseTransform(self.lazy(context))


class FlowConfig(FamilyConfig):
    """Base of the configs of flows of real features.

    >>> from maquette.core.families.flows.linear import LinearConfig
    >>> config: FlowConfig = LinearConfig()
    >>> config.base, config.exchangeable
    (NormalConfig(kind='normal'), True)
    """

    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "product")
    model: ClassVar[type[nn.Module]] = Flow

    base: BaseConfig = Field(default=NormalConfig(), description="distribution of the codes")

    @property
    def exchangeable(self) -> bool:
        """Whether permuting the features leaves the base distribution unchanged, so that codes may be in any order."""
        return isinstance(self.base, NormalConfig)
