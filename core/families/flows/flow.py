"""What all flows share: a standard normal under a stack of conditional transforms, fitted by maximum likelihood."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ...data import Batch
from ...layout import Layout
from ...noise import Noise
from ...objective import Act, Losses, Objective, Role
from ...samplers.likelihood import normal_log_density
from ...spaces import Tree


class Flow(nn.Module):
    """A density on rows (B, D): log p(x | c) = log N(f(x; c)) + log |det df/dx|.

    Args:
        layout: how samples and conditions become rows.
        transforms: modules whose `forward(columns)` returns a transform of rows from data towards noise (the
            convention of zuko's lazy transforms).
    """

    def __init__(self, layout: Layout, transforms: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layout = layout
        self.transforms = nn.ModuleList(transforms)

    def forward(self, rows: Tensor, columns: Tensor | None) -> tuple[Tensor, Tensor]:
        """Rows (B, D) and condition columns (B, C) to (noise (B, D), log-determinant (B,))."""
        total = torch.zeros_like(rows[:, 0])
        for lazy in self.transforms:
            rows, ladj = lazy(columns).call_and_ladj(rows)
            total = total + ladj
        return rows, total

    def inverse(self, z: Tensor, columns: Tensor | None) -> Tensor:
        """Noise (B, D) and condition columns (B, C) to rows (B, D)."""
        for lazy in reversed(self.transforms):
            z = lazy(columns).inv(z)
        return z

    def log_prob(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """Exact log-density, shape (B,), nats."""
        rows = self.layout.rows(x)
        z, ladj = self(rows, self.layout.columns(condition, rows))
        return normal_log_density(z) + ladj

    def encode(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """The noise (B, D) of x."""
        rows = self.layout.rows(x)
        return self(rows, self.layout.columns(condition, rows))[0]

    def decode(self, z: Tensor, condition: Tree | None = None) -> Tree:
        """The sample whose noise is z (B, D)."""
        return self.layout.value(self.inverse(z, self.layout.columns(condition, z)))

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Draw n samples; reads the noise "prior" (D,)."""
        return self.decode(self.layout.prior(n, noise), condition)

    def acts(self) -> list[Act]:
        return [Act("fit", (Role("model", FlowObjective(self), (self,)),))]


class FlowObjective(Objective):
    """Negative log-likelihood per dimension, nats."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        rows = self.flow.layout.rows(batch.x)
        z, ladj = self.flow(rows, self.flow.layout.columns(batch.condition, rows))
        return Losses(-(normal_log_density(z) + ladj) / self.flow.layout.width)
