"""What all flows share: a base law under a stack of conditional transforms, fitted by maximum likelihood."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Transform

from ...data import Batch
from ...layout import Layout
from ...noise import Noise
from ...objective import Losses, Objective, Player, Stage
from ...spaces import Tree
from .. import FamilyConfig
from .bases import Base, BaseConfig, Normal, NormalConfig
from .bijection import Reversed


class Flow(nn.Module):
    """A density on rows (B, D): log p(x | c) = log p_base(f(x; c)) + log |det df/dx|.

    Args:
        layout: how samples and conditions become rows.
        transforms: modules whose `forward(context)` returns a transform of rows from data towards noise (the
            convention of zuko's lazy transforms).
        base: law of the noise; independent standard normals if not given.
    """

    def __init__(self, layout: Layout, transforms: Iterable[nn.Module], base: nn.Module | None = None) -> None:
        super().__init__()
        self.layout = layout
        self.transforms = nn.ModuleList(transforms)
        self._base = Normal(layout) if base is None else base

    @property
    def base(self) -> Base:
        """Law of the noise that `encode` returns."""
        return cast(Base, self._base)

    @property
    def likelihood_notes(self) -> tuple[str, ...]:
        return (self.base.description,)

    def forward(self, rows: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Rows (B, D) and context (B, C) to (noise (B, D), log-determinant (B,))."""
        total = torch.zeros_like(rows[:, 0])
        for lazy in self.transforms:
            rows, ladj = lazy(context).call_and_ladj(rows)
            total = total + ladj
        return rows, total

    def inverse(self, z: Tensor, context: Tensor | None) -> Tensor:
        """Noise (B, D) and context (B, C) to rows (B, D)."""
        for lazy in reversed(self.transforms):
            z = lazy(context).inv(z)
        return z

    def log_density(self, rows: Tensor, context: Tensor | None) -> Tensor:
        """`log_prob` of rows (B, D) and context (B, C)."""
        z, ladj = self(rows, context)
        return self.base.log_prob(z) + ladj

    def log_prob(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """Exact log-density, shape (B,), nats."""
        rows = self.layout.flatten(x)
        return self.log_density(rows, self.layout.context(condition, rows))

    def encode(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """The noise (B, D) of x."""
        rows = self.layout.flatten(x)
        return self(rows, self.layout.context(condition, rows))[0]

    def decode(self, z: Tensor, condition: Tree | None = None) -> Tree:
        """The sample whose noise is z (B, D)."""
        return self.layout.unflatten(self.inverse(z, self.layout.context(condition, z)))

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Draw n samples; reads the noise "prior" (D,)."""
        return self.decode(self.base.draw(n, noise), condition)

    def stages(self) -> list[Stage]:
        return [Stage("fit", (Player("model", FlowObjective(self), (self,)),))]


class FlowObjective(Objective):
    """Negative log-likelihood per dimension, nats."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        layout = self.flow.layout
        rows = layout.flatten(batch.x)
        return Losses(-self.flow.log_density(rows, layout.context(batch.condition, rows)) / layout.features)


class Inverted(nn.Module):
    """A lazy transform the other way round."""

    def __init__(self, lazy: nn.Module) -> None:
        super().__init__()
        self.lazy = lazy

    def forward(self, context: Tensor | None) -> Transform:
        return Reversed(self.lazy(context))


class FlowConfig(FamilyConfig):
    """Base of the configs of flows of real numbers."""

    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "product")
    model: ClassVar[type[nn.Module]] = Flow

    base: BaseConfig = Field(default=NormalConfig(), description="law of the noise")

    @property
    def ordered(self) -> bool:
        """Whether the base knows one number from another, so that codes must lie where the numbers did."""
        return not isinstance(self.base, NormalConfig)
