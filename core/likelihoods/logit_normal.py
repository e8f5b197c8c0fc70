"""Numbers of an interval whose logit is Gaussian, or of a mixture of such.

Aitchison & Shen, "Logistic-normal distributions", Biometrika 67 (1980) 261. All mass may lie near one end, or at both.
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

_LEAST, _WIDEST = 1e-3, 2.4  # least scale, and largest log scale, of a logit: at 11 most mass is at the two ends
_NODES = 129


@dataclass(frozen=True)
class LogitNormal:
    """x = low + (high - low) sigmoid(y) with y from N(m, s^2), given m and log s.

    Args:
        unit: the interval.
    """

    unit: Unit
    uniforms: int = 1

    def embed(self, x: Tensor, like: Tensor) -> Tensor:
        return self.unit.embed(x, like)

    def shapes(self, one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
        return one, _LEAST + torch.exp(two.clamp(max=_WIDEST))

    def log_prob(self, one: Tensor, two: Tensor, x: Tensor) -> Tensor:
        t = self.unit.coordinate(x.to(one.dtype))
        z = (torch.logit(clamp(t)) - one) / two
        volume = torch.log(clamp(t)) + torch.log1p(-clamp(t))  # of the logit
        inner = -0.5 * z.square() - two.log() - 0.5 * math.log(2 * math.pi) - volume
        rim = math.log(EDGE) - math.log1p(-EDGE)
        first, last = (torch.special.log_ndtr((rim + sign * one) / two) for sign in (-1, 1))
        return with_edges(t, inner, first, last) - self.unit.log_length

    def draw(self, one: Tensor, two: Tensor, u: Tensor) -> Tensor:
        return self.unit.value(torch.sigmoid(one + two * torch.special.ndtri(u[..., 0])))

    def mean(self, one: Tensor, two: Tensor) -> Tensor:
        """Expectation of x; the integral over the logit by the trapezoidal rule, to 1e-6 of the interval or better."""
        z = torch.linspace(-8, 8, _NODES, dtype=one.dtype, device=one.device)
        mass = torch.softmax(-0.5 * z.square(), dim=-1)
        return self.unit.value((torch.sigmoid(one.unsqueeze(-1) + two.unsqueeze(-1) * z) * mass).sum(-1))


@likelihoods.register("logit-normal")
class LogitNormalConfig(LikelihoodConfig):
    """Mixture of logit-normal laws."""

    summary: ClassVar[str] = "mixture of Gaussians in the logit of an interval"
    supports: ClassVar[tuple[type[Support], ...]] = (Interval,)
    usual: ClassVar[tuple[type[Support], ...]] = (Interval,)

    kind: Literal["logit-normal"] = "logit-normal"
    components: int = Field(default=1, ge=1, description="laws in the mixture")

    def build(self, support: Support) -> Mixture:
        assert isinstance(support, Interval)
        return Mixture(LogitNormal(Unit.of(support)), self.components)
