"""Mixture of Gaussians truncated to an interval.

Modes lie in the interval; a component much wider than the interval is uniform. In contrast to a logit-normal
distribution, the density need not vanish at the ends.
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
from .interval import UnitInterval
from .mixture import Mixture

_MIN_SCALE, _MAX_LOG_SCALE = 1e-3, 3.0  # in units of the interval


@dataclass(frozen=True)
class TruncatedNormal:
    """N(t; mode, scale^2) / Z on [0, 1] in the interval's coordinate t; a network gives logit(mode) and log(scale).

    Args:
        unit: the interval.

    >>> TruncatedNormal(UnitInterval(0.0, 1.0)).mean(torch.tensor(0.5), torch.tensor(0.1))
    tensor(0.5000)
    """

    unit: UnitInterval
    uniforms: int = field(default=1, repr=False)

    def embed(self, x: Tensor, like: Tensor) -> Tensor:
        return self.unit.embed(x, like)

    def constrain(self, mode_logit: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
        return torch.sigmoid(mode_logit), _MIN_SCALE + torch.exp(log_scale.clamp(max=_MAX_LOG_SCALE))

    def log_prob(self, mode: Tensor, scale: Tensor, x: Tensor) -> Tensor:
        z = (self.unit.to_unit(x.to(mode.dtype)) - mode) / scale
        # the mode lies inside, so the mass between the ends does not cancel
        mass = torch.special.ndtr((1 - mode) / scale) - torch.special.ndtr(-mode / scale)
        return -0.5 * z.square() - scale.log() - 0.5 * math.log(2 * math.pi) - mass.log() - self.unit.log_length

    def draw(self, mode: Tensor, scale: Tensor, u: Tensor) -> Tensor:
        below, above = torch.special.ndtr(-mode / scale), torch.special.ndtr((1 - mode) / scale)
        quantile = torch.lerp(below, above, u[..., 0]).clamp(max=1 - torch.finfo(u.dtype).eps / 2)
        return self.unit.from_unit((mode + scale * torch.special.ndtri(quantile)).clamp(0, 1))

    def mean(self, mode: Tensor, scale: Tensor) -> Tensor:
        a, b = -mode / scale, (1 - mode) / scale
        slope = (torch.exp(-0.5 * a.square()) - torch.exp(-0.5 * b.square())) / math.sqrt(2 * math.pi)
        return self.unit.from_unit(mode + scale * slope / (torch.special.ndtr(b) - torch.special.ndtr(a)))


@likelihoods.register("truncated-normal")
class TruncatedNormalConfig(LikelihoodConfig):
    """Mixture of truncated Gaussians.

    >>> likelihood = TruncatedNormalConfig().build(Interval())
    >>> likelihood.mean(torch.tensor([0.0, 0.0, 3.0]))  # logit of the weight, logit of the mode, log scale
    tensor(0.5000)
    """

    summary: ClassVar[str] = "mixture of Gaussians truncated to an interval"
    supports: ClassVar[tuple[type[Support], ...]] = (Interval,)

    kind: Literal["truncated-normal"] = "truncated-normal"
    components: int = Field(default=1, ge=1, description="components of the mixture")

    def build(self, support: Support) -> Mixture:
        return Mixture(TruncatedNormal(UnitInterval.of(self.require(support, Interval))), self.components)
