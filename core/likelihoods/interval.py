"""What laws on an interval share: its unit coordinate, and the slivers at its ends.

Densities on an interval may vanish or grow without bound at the ends, where measured data like to sit (a saturated
pixel, an empty cell). Within `EDGE` of an end a law is flat: it takes the mean of its density there. So every score is
finite and the total is one, and a sample at the very end counts for the mass that lies near it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..spaces import Interval

EDGE = 1e-6
"""Length of the sliver at each end, in units of the interval."""


@dataclass(frozen=True)
class Unit:
    """The coordinate t in [0, 1] of x in [low, high].

    Args:
        low, high: ends of the interval.
    """

    low: float
    high: float

    @classmethod
    def of(cls, support: Interval) -> Unit:
        return cls(support.low, support.high)

    @property
    def log_length(self) -> float:
        """log(high - low): a density in x is one in t less this, nats."""
        return math.log(self.high - self.low)

    def coordinate(self, x: Tensor) -> Tensor:
        return ((x - self.low) / (self.high - self.low)).clamp(0, 1)

    def value(self, t: Tensor) -> Tensor:
        return (self.low + (self.high - self.low) * t).clamp(self.low, self.high)

    def embed(self, x: Tensor, like: Tensor) -> Tensor:
        """As a network sees x: (..., 1) on [-1, 1]."""
        return (2 * self.coordinate(x.to(like.dtype)) - 1).unsqueeze(-1)


def with_edges(t: Tensor, inner: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """Log-density of t (...) in [0, 1] from that within, and the log-masses of the two slivers, all (...), nats.

    `inner` must be finite at `clamp(t)`.
    """
    rim = math.log(EDGE)
    return torch.where(t < EDGE, first - rim, torch.where(t > 1 - EDGE, last - rim, inner))


def clamp(t: Tensor) -> Tensor:
    """The nearest coordinate outside of the slivers."""
    return t.clamp(EDGE, 1 - EDGE)
