"""Numbers of an interval by a Gaussian that is cut at its ends, or by a mixture of such.

The mode lies inside the interval, or at an end of it; wide components are flat. In contrast to a logit-normal law the
density is bounded, and need not vanish at the ends.
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
from .interval import Unit
from .mixture import Mixture

_LEAST, _WIDEST = 1e-3, 3.0  # least scale, and largest log scale, in units of the interval


@dataclass(frozen=True)
class TruncatedNormal:
    """N(t; m, s^2) / Z on [0, 1] in the interval's coordinate t, given the logit of the mode m, and log s.

    Args:
        unit: the interval.
    """

    unit: Unit
    uniforms: int = 1

    def embed(self, x: Tensor, like: Tensor) -> Tensor:
        return self.unit.embed(x, like)

    def shapes(self, one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
        return torch.sigmoid(one), _LEAST + torch.exp(two.clamp(max=_WIDEST))

    def log_prob(self, one: Tensor, two: Tensor, x: Tensor) -> Tensor:
        z = (self.unit.coordinate(x.to(one.dtype)) - one) / two
        # the mode lies inside, so that the mass between the ends is no small difference of large numbers
        mass = torch.special.ndtr((1 - one) / two) - torch.special.ndtr(-one / two)
        return -0.5 * z.square() - two.log() - 0.5 * math.log(2 * math.pi) - mass.log() - self.unit.log_length

    def draw(self, one: Tensor, two: Tensor, u: Tensor) -> Tensor:
        below, above = torch.special.ndtr(-one / two), torch.special.ndtr((1 - one) / two)
        quantile = torch.lerp(below, above, u[..., 0]).clamp(max=1 - torch.finfo(u.dtype).eps / 2)
        return self.unit.value((one + two * torch.special.ndtri(quantile)).clamp(0, 1))

    def mean(self, one: Tensor, two: Tensor) -> Tensor:
        a, b = -one / two, (1 - one) / two
        slope = (torch.exp(-0.5 * a.square()) - torch.exp(-0.5 * b.square())) / math.sqrt(2 * math.pi)
        return self.unit.value(one + two * slope / (torch.special.ndtr(b) - torch.special.ndtr(a)))


@likelihoods.register("truncated-normal")
class TruncatedNormalConfig(LikelihoodConfig):
    """Mixture of truncated normal laws."""

    summary: ClassVar[str] = "mixture of Gaussians cut at the ends of an interval"
    supports: ClassVar[tuple[type[Support], ...]] = (Interval,)

    kind: Literal["truncated-normal"] = "truncated-normal"
    components: int = Field(default=1, ge=1, description="laws in the mixture")

    def build(self, support: Support) -> Mixture:
        assert isinstance(support, Interval)
        return Mixture(TruncatedNormal(Unit.of(support)), self.components)
