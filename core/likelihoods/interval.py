"""What distributions on an interval share: its unit coordinate, and how they treat its ends.

Densities on an interval may vanish or diverge at the ends, where measured values accumulate (a saturated pixel, an
empty cell). Within `EDGE` of an end, the density is replaced by its mean there. So every log-density is finite, the
density still integrates to one, and a value exactly at an end is scored by the mass near it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..spaces import Interval

EDGE = 1e-6
"""Length of the cell at each end, in units of the interval."""


@dataclass(frozen=True)
class UnitInterval:
    """The coordinate t in [0, 1] of x in [low, high].

    Args:
        low, high: ends of the interval.

    >>> unit = UnitInterval(-1.0, 3.0)
    >>> unit.to_unit(torch.tensor(1.0)), unit.from_unit(torch.tensor(0.5))
    (tensor(0.5000), tensor(1.))
    """

    low: float
    high: float

    @classmethod
    def of(cls, support: Interval) -> UnitInterval:
        return cls(support.low, support.high)

    @property
    def log_length(self) -> float:
        """log(high - low): the log-density of x is that of t less this, nats."""
        return math.log(self.high - self.low)

    def to_unit(self, x: Tensor) -> Tensor:
        return ((x - self.low) / (self.high - self.low)).clamp(0, 1)

    def from_unit(self, t: Tensor) -> Tensor:
        return (self.low + (self.high - self.low) * t).clamp(self.low, self.high)

    def embed(self, x: Tensor, like: Tensor) -> Tensor:
        """x (...) as the input of a network: (..., 1) on [-1, 1]."""
        return (2 * self.to_unit(x.to(like.dtype)) - 1).unsqueeze(-1)


def flat_at_edges(t: Tensor, inner: Tensor, log_mass_low: Tensor, log_mass_high: Tensor) -> Tensor:
    """Log-density of t (...) in [0, 1], constant within each end cell; all arguments are (...), log-masses in nats.

    Args:
        t: coordinates in [0, 1].
        inner: log-density at `clamp_inside(t)`, finite.
        log_mass_low: log of the mass in the lower end cell.
        log_mass_high: log of the mass in the upper end cell.

    >>> mass = torch.tensor(2 * EDGE).log()  # twice as dense as the uniform distribution
    >>> flat_at_edges(torch.tensor([0.0, 0.5, 1.0]), torch.zeros(3), mass, mass).exp()
    tensor([2.0000, 1.0000, 2.0000])
    """
    log_edge = math.log(EDGE)
    high = torch.where(t > 1 - EDGE, log_mass_high - log_edge, inner)
    return torch.where(t < EDGE, log_mass_low - log_edge, high)


def clamp_inside(t: Tensor) -> Tensor:
    """The nearest coordinate to t outside of the end cells.

    >>> clamp_inside(torch.tensor([0.0, 0.5])).tolist()
    [9.999999974752427e-07, 0.5]
    """
    return t.clamp(EDGE, 1 - EDGE)
