"""Mixture of logit-normal distributions on an interval: the logit of the coordinate is Gaussian.

Aitchison & Shen, "Logistic-normal distributions", Biometrika 67 (1980) 261. Most of the mass may lie near one
end, or near both.
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

_MIN_SCALE, _MAX_LOG_SCALE = 1e-3, 2.4  # of the logit; at a scale of 11 most mass is at the two ends
_NODES = 129  # of the quadrature of the mean


@dataclass(frozen=True)
class LogitNormal:
    """x = low + (high - low) sigmoid(y) with y from N(loc, scale^2).

    Args:
        unit: the interval.

    >>> LogitNormal(UnitInterval(0.0, 1.0)).mean(torch.tensor(0.0), torch.tensor(2.0))
    tensor(0.5000)
    """

    unit: UnitInterval
    uniforms: int = field(default=1, repr=False)

    def embed(self, x: Tensor, like: Tensor) -> Tensor:
        return self.unit.embed(x, like)

    def constrain(self, loc: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
        return loc, _MIN_SCALE + torch.exp(log_scale.clamp(max=_MAX_LOG_SCALE))

    def log_prob(self, loc: Tensor, scale: Tensor, x: Tensor) -> Tensor:
        t = self.unit.to_unit(x.to(loc.dtype))
        z = (torch.logit(clamp_inside(t)) - loc) / scale
        log_slope = torch.log(clamp_inside(t)) + torch.log1p(-clamp_inside(t))  # of the sigmoid
        inner = -0.5 * z.square() - scale.log() - 0.5 * math.log(2 * math.pi) - log_slope
        edge = math.log(EDGE) - math.log1p(-EDGE)
        low, high = (torch.special.log_ndtr((edge + sign * loc) / scale) for sign in (-1, 1))
        return flat_at_edges(t, inner, low, high) - self.unit.log_length

    def draw(self, loc: Tensor, scale: Tensor, u: Tensor) -> Tensor:
        return self.unit.from_unit(torch.sigmoid(loc + scale * torch.special.ndtri(u[..., 0])))

    def mean(self, loc: Tensor, scale: Tensor) -> Tensor:
        """Expectation of x; the integral over the logit by the trapezoidal rule, to 1e-6 of the interval or better."""
        z = torch.linspace(-8, 8, _NODES, dtype=loc.dtype, device=loc.device)
        mass = torch.softmax(-0.5 * z.square(), dim=-1)
        return self.unit.from_unit((torch.sigmoid(loc.unsqueeze(-1) + scale.unsqueeze(-1) * z) * mass).sum(-1))


@likelihoods.register("logit-normal")
class LogitNormalConfig(LikelihoodConfig):
    """Mixture of logit-normal distributions.

    >>> likelihood = LogitNormalConfig().build(Interval(low=-1.0, high=1.0))
    >>> likelihood.draw(torch.zeros(3), torch.tensor([0.5, 0.5]))  # the median
    tensor(0.)
    """

    summary: ClassVar[str] = "mixture of Gaussians in the logit of an interval"
    supports: ClassVar[tuple[type[Support], ...]] = (Interval,)
    default_for: ClassVar[tuple[type[Support], ...]] = (Interval,)

    kind: Literal["logit-normal"] = "logit-normal"
    components: int = Field(default=1, ge=1, description="components of the mixture")

    def build(self, support: Support) -> Mixture:
        return Mixture(LogitNormal(UnitInterval.of(self.require(support, Interval))), self.components)
