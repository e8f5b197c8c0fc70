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
from .mixture import choose

_LEAST, _WIDEST = 1e-3, 5.0  # least scale, and largest log scale, of a logit
_NODES = 129


@dataclass(frozen=True)
class LogitNormal:
    """x = low + (high - low) sigmoid(y) with y from sum_k w_k N(m_k, s_k^2); K logits, K means, K log scales.

    Args:
        unit: the interval.
        components: K.
    """

    unit: Unit
    components: int
    columns: int = 1
    uniforms: int = 2
    discrete: bool = False

    @property
    def parameters(self) -> int:
        return 3 * self.components

    def spread(self, x: Tensor, like: Tensor) -> Tensor:
        return self.unit.spread(x, like)

    def _pieces(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights, means and scales, each (..., K)."""
        logits, means, raw = parameters.chunk(3, dim=-1)
        return logits.log_softmax(-1), means, _LEAST + torch.exp(raw.clamp(max=_WIDEST))

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        weights, means, scales = self._pieces(parameters)
        t = self.unit.coordinate(x.to(parameters.dtype)).unsqueeze(-1)
        z = (torch.logit(clamp(t)) - means) / scales
        volume = torch.log(clamp(t)) + torch.log1p(-clamp(t))  # of the logit
        inner = -0.5 * z.square() - scales.log() - 0.5 * math.log(2 * math.pi) - volume
        rim = math.log(EDGE) - math.log1p(-EDGE)
        first, last = (torch.special.log_ndtr((rim + sign * means) / scales) for sign in (-1, 1))
        return (weights + with_edges(t, inner, first, last)).logsumexp(-1) - self.unit.log_length

    def draw(self, parameters: Tensor, u: Tensor) -> Tensor:
        weights, means, scales = self._pieces(parameters)
        k = choose(weights, u[..., 0])
        y = means.gather(-1, k) + scales.gather(-1, k) * torch.special.ndtri(u[..., 1:])
        return self.unit.value(torch.sigmoid(y)).squeeze(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        """Expectation of x; the integral over the logit by the trapezoidal rule, to 1e-6 of the interval or better."""
        weights, means, scales = self._pieces(parameters)
        z = torch.linspace(-8, 8, _NODES, dtype=parameters.dtype, device=parameters.device)
        mass = torch.softmax(-0.5 * z.square(), dim=-1)
        t = (torch.sigmoid(means.unsqueeze(-1) + scales.unsqueeze(-1) * z) * mass).sum(-1)
        return self.unit.value((weights.exp() * t).sum(-1))


@likelihoods.register("logit-normal")
class LogitNormalConfig(LikelihoodConfig):
    """Mixture of logit-normal laws."""

    summary: ClassVar[str] = "mixture of Gaussians in the logit of an interval"
    supports: ClassVar[tuple[type[Support], ...]] = (Interval,)
    usual: ClassVar[tuple[type[Support], ...]] = (Interval,)

    kind: Literal["logit-normal"] = "logit-normal"
    components: int = Field(default=1, ge=1, description="laws in the mixture")

    def build(self, support: Support) -> LogitNormal:
        assert isinstance(support, Interval)
        return LogitNormal(Unit.of(support), self.components)
