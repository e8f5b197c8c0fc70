"""Numbers of an interval by a beta law, or by a mixture of such.

Draws are ratios of gamma numbers by Marsaglia & Tsang, "A simple method for generating gamma variables", ACM Trans.
Math. Softw. 26 (2000) 363. A round of their rejection succeeds at least 95 times in 100; all rounds are made at once
and the first success is taken, so that a draw is a fixed function of fixed many uniform numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from ..spaces import Interval, Support
from . import LikelihoodConfig, likelihoods
from .interval import EDGE, Unit, clamp, with_edges
from .mixture import Mixture

_FLATTEST, _SHARPEST = -6.0, 6.0  # log shapes between which the slivers' masses and float32 are good to 1e-3
_ROUNDS = 8  # all fail once in 1e10 draws; the last proposal is taken then
_GAMMA = 2 * _ROUNDS + 1


def log_gamma_draw(shape: Tensor, u: Tensor) -> Tensor:
    """Logarithm of gamma numbers (...) from shapes (...) > 0 and uniform numbers (..., 17)."""
    tries, thresholds, boost = u.split((_ROUNDS, _ROUNDS, 1), dim=-1)
    d = torch.where(shape < 1, shape + 1, shape).unsqueeze(-1) - 1 / 3
    z = torch.special.ndtri(tries)
    cube = (1 + z / (9 * d).sqrt()) ** 3
    positive = cube > 0
    log_cube = torch.where(positive, cube, 1.0).log()
    accepted = positive & (thresholds.log() < 0.5 * z.square() + d * (1 - cube + log_cube))
    first = (accepted.cumsum(-1) == 0).sum(-1, keepdim=True).clamp(max=_ROUNDS - 1)
    drawn = (d.log() + log_cube.gather(-1, first)).squeeze(-1)
    # a shape below one is that above one, shrunk by u^(1 / shape): too small for anything but its logarithm
    return drawn + torch.where(shape < 1, boost.squeeze(-1).log() / shape, 0.0)


@dataclass(frozen=True)
class Beta:
    """t^(a - 1) (1 - t)^(b - 1) / B(a, b) in the interval's coordinate t, given log a and log b.

    Args:
        unit: the interval.
    """

    unit: Unit
    uniforms: int = 2 * _GAMMA

    def embed(self, x: Tensor, like: Tensor) -> Tensor:
        return self.unit.embed(x, like)

    def shapes(self, one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
        return one.clamp(_FLATTEST, _SHARPEST).exp(), two.clamp(_FLATTEST, _SHARPEST).exp()

    def log_prob(self, one: Tensor, two: Tensor, x: Tensor) -> Tensor:
        t = self.unit.coordinate(x.to(one.dtype))
        whole = torch.lgamma(one) + torch.lgamma(two) - torch.lgamma(one + two)
        inner = (one - 1) * torch.log(clamp(t)) + (two - 1) * torch.log1p(-clamp(t)) - whole
        # the slivers' masses to first order in their length
        first, last = (shape * math.log(EDGE) - shape.log() - whole for shape in (one, two))
        return with_edges(t, inner, first, last) - self.unit.log_length

    def draw(self, one: Tensor, two: Tensor, u: Tensor) -> Tensor:
        first, second = u.split(_GAMMA, dim=-1)
        return self.unit.value(torch.sigmoid(log_gamma_draw(one, first) - log_gamma_draw(two, second)))

    def mean(self, one: Tensor, two: Tensor) -> Tensor:
        return self.unit.value(one / (one + two))


@likelihoods.register("beta")
class BetaConfig(LikelihoodConfig):
    """Mixture of beta laws."""

    summary: ClassVar[str] = "mixture of beta laws on an interval"
    supports: ClassVar[tuple[type[Support], ...]] = (Interval,)

    kind: Literal["beta"] = "beta"
    components: int = Field(default=1, ge=1, description="laws in the mixture")

    def build(self, support: Support) -> Mixture:
        assert isinstance(support, Interval)
        return Mixture(Beta(Unit.of(support)), self.components)
