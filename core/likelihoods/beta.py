"""Mixture of beta distributions on an interval; with one component, the beta distribution.

Beta draws are ratios of gamma draws by Marsaglia & Tsang, "A simple method for generating gamma variables", ACM Trans.
Math. Softw. 26 (2000) 363. A round of their rejection sampling succeeds at least 95 times in 100. Eight rounds are
computed at once and the first success is taken, so that a draw is a function of a fixed number of uniform numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from ..spaces import Interval, Support
from . import LikelihoodConfig, likelihoods
from .interval import EDGE, UnitInterval, clamp_inside, flat_at_edges
from .mixture import Mixture

_MIN_LOG, _MAX_LOG = (
    -6.0,
    6.0,
)  # of alpha and beta; between them the end cells' masses in float32 have errors below 1e-3
_ROUNDS = 8  # all fail once in 1e10 draws; then the last proposal is taken
_GAMMA = 2 * _ROUNDS + 1


def _log_gamma_draw(shape: Tensor, u: Tensor) -> Tensor:
    """Logarithm of gamma draws (...) from shape parameters (...) > 0 and uniform numbers (..., 17)."""
    tries, thresholds, boost = u.split((_ROUNDS, _ROUNDS, 1), dim=-1)
    d = torch.where(shape < 1, shape + 1, shape).unsqueeze(-1) - 1 / 3
    z = torch.special.ndtri(tries)
    cube = (1 + z / (9 * d).sqrt()) ** 3
    positive = cube > 0
    log_cube = torch.where(positive, cube, 1.0).log()
    accepted = positive & (thresholds.log() < 0.5 * z.square() + d * (1 - cube + log_cube))
    first = (accepted.cumsum(-1) == 0).sum(-1, keepdim=True).clamp(max=_ROUNDS - 1)
    drawn = (d.log() + log_cube.gather(-1, first)).squeeze(-1)
    # a draw of shape a < 1 is one of shape a + 1 times u^(1 / a), which may underflow: only its logarithm is computed
    return drawn + torch.where(shape < 1, boost.squeeze(-1).log() / shape, 0.0)


@dataclass(frozen=True)
class Beta:
    """t^(alpha - 1) (1 - t)^(beta - 1) / B(alpha, beta) in the interval's coordinate t in [0, 1].

    Args:
        unit: the interval.

    >>> Beta(UnitInterval(0.0, 1.0)).mean(torch.tensor(1.0), torch.tensor(3.0))
    tensor(0.2500)
    """

    unit: UnitInterval
    uniforms: int = field(default=2 * _GAMMA, repr=False)

    def embed(self, x: Tensor, like: Tensor) -> Tensor:
        return self.unit.embed(x, like)

    def constrain(self, log_alpha: Tensor, log_beta: Tensor) -> tuple[Tensor, Tensor]:
        return log_alpha.clamp(_MIN_LOG, _MAX_LOG).exp(), log_beta.clamp(_MIN_LOG, _MAX_LOG).exp()

    def log_prob(self, alpha: Tensor, beta: Tensor, x: Tensor) -> Tensor:
        t = self.unit.to_unit(x.to(alpha.dtype))
        log_norm = torch.lgamma(alpha) + torch.lgamma(beta) - torch.lgamma(alpha + beta)
        inner = (alpha - 1) * torch.log(clamp_inside(t)) + (beta - 1) * torch.log1p(-clamp_inside(t)) - log_norm
        # the end cells' masses to first order in their length
        low, high = (a * math.log(EDGE) - a.log() - log_norm for a in (alpha, beta))
        return flat_at_edges(t, inner, low, high) - self.unit.log_length

    def draw(self, alpha: Tensor, beta: Tensor, u: Tensor) -> Tensor:
        first, second = u.split(_GAMMA, dim=-1)
        return self.unit.from_unit(torch.sigmoid(_log_gamma_draw(alpha, first) - _log_gamma_draw(beta, second)))

    def mean(self, alpha: Tensor, beta: Tensor) -> Tensor:
        return self.unit.from_unit(alpha / (alpha + beta))


@likelihoods.register("beta")
class BetaConfig(LikelihoodConfig):
    """Mixture of beta distributions.

    >>> likelihood = BetaConfig(components=2).build(Interval(low=0.0, high=255.0))
    >>> likelihood.mean(torch.zeros(likelihood.parameters))  # uniform
    tensor(127.5000)
    """

    summary: ClassVar[str] = "mixture of beta distributions on an interval"
    supports: ClassVar[tuple[type[Support], ...]] = (Interval,)

    kind: Literal["beta"] = "beta"
    components: int = Field(default=1, ge=1, description="components of the mixture")

    def build(self, support: Support) -> Mixture:
        return Mixture(Beta(UnitInterval.of(self.require(support, Interval))), self.components)
