"""What is summed over the samples of a step: losses, metrics and statistics, over micro-batches and processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from ..objective import Losses
from .world import World


@dataclass
class StepSums:
    """Weighted sums over the samples of a step; they stay on the device until `means` is called.

    Attributes:
        names: "loss", then the objective's metrics.
        totals: the sum of weights, then of weight x value for each name; float64, shape (1 + names,), empty before the
            first batch.
        statistics: sums of the objective's statistics, by name.

    >>> sums = StepSums()
    >>> sums.add(Losses(torch.tensor([1.0, 4.0]), weights=torch.tensor([2.0, 1.0])), counts=2)
    >>> sums.means()
    {'loss': 2.0}
    """

    names: list[str] = field(default_factory=list)
    totals: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.float64))
    statistics: dict[str, Tensor] = field(default_factory=dict)

    def add(self, out: Losses, counts: int) -> None:
        """Add the first samples of a micro-batch; zeros if none counts, so that all processes have the same names."""
        with torch.no_grad():
            values = {"loss": out.losses, **out.metrics}
            weights = counted(out.weights.double(), counts)
            totals = torch.stack([weights.sum(), *((weights * value).sum() for value in values.values())])
            self.totals = self.totals + totals if self.names else totals
            self.names = list(values)
            for name, tensor in out.statistics.items():
                part = tensor.detach() * (counts > 0)
                self.statistics[name] = self.statistics[name] + part if name in self.statistics else part

    def all_reduce(self, world: World) -> None:
        """Sum over all processes."""
        world.all_reduce(self.totals)
        for name in sorted(self.statistics):
            world.all_reduce(self.statistics[name])

    @property
    def weight(self) -> Tensor:
        """Sum of the weights, a scalar."""
        return self.totals[0]

    @property
    def loss(self) -> Tensor:
        """Weighted mean of the loss, a scalar."""
        return self.totals[1] / self.totals[0]

    def means(self) -> dict[str, float]:
        """Weighted means by name; waits for the device."""
        return dict(zip(self.names, (self.totals[1:] / self.totals[0]).tolist(), strict=True))

    def dump(self) -> dict[str, Any]:
        """Names and sums as plain JSON, for a checkpoint within a step."""
        return {"names": self.names, "totals": self.totals.tolist()}

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> Self:
        """Inverse of `dump`."""
        return cls(content["names"], torch.tensor(content["totals"], dtype=torch.float64))


def counted(values: Tensor, counts: int) -> Tensor:
    """Values (B,) of which the first `counts` are kept and the others zero.

    >>> counted(torch.ones(3), 2)
    tensor([1., 1., 0.])
    """
    if counts == len(values):
        return values
    return values * (torch.arange(len(values), device=values.device) < counts)
