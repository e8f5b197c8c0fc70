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
from .mixture import choose

_LEAST, _WIDEST = 1e-3, 3.0  # least scale, and largest log scale, in units of the interval


@dataclass(frozen=True)
class TruncatedNormal:
    """sum_k w_k N(t; m_k, s_k^2) / Z_k on [0, 1] in the interval's coordinate t; K logits, logits of K modes, K log
    scales.

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
        """Log weights, modes and scales, each (..., K)."""
        logits, modes, raw = parameters.chunk(3, dim=-1)
        return logits.log_softmax(-1), torch.sigmoid(modes), _LEAST + torch.exp(raw.clamp(max=_WIDEST))

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        weights, modes, scales = self._pieces(parameters)
        z = (self.unit.coordinate(x.to(parameters.dtype)).unsqueeze(-1) - modes) / scales
        # the mode lies inside, so that the mass between the ends is no small difference of large numbers
        mass = torch.special.ndtr((1 - modes) / scales) - torch.special.ndtr(-modes / scales)
        density = -0.5 * z.square() - scales.log() - 0.5 * math.log(2 * math.pi) - mass.log()
        return (weights + density).logsumexp(-1) - self.unit.log_length

    def draw(self, parameters: Tensor, u: Tensor) -> Tensor:
        weights, modes, scales = self._pieces(parameters)
        k = choose(weights, u[..., 0])
        mode, scale = modes.gather(-1, k), scales.gather(-1, k)
        below, above = torch.special.ndtr(-mode / scale), torch.special.ndtr((1 - mode) / scale)
        quantile = torch.lerp(below, above, u[..., 1:]).clamp(max=1 - torch.finfo(u.dtype).eps / 2)
        t = mode + scale * torch.special.ndtri(quantile)
        return self.unit.value(t.clamp(0, 1)).squeeze(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        weights, modes, scales = self._pieces(parameters)
        a, b = -modes / scales, (1 - modes) / scales
        slope = (torch.exp(-0.5 * a.square()) - torch.exp(-0.5 * b.square())) / math.sqrt(2 * math.pi)
        t = modes + scales * slope / (torch.special.ndtr(b) - torch.special.ndtr(a))
        return self.unit.value((weights.exp() * t).sum(-1))


@likelihoods.register("truncated-normal")
class TruncatedNormalConfig(LikelihoodConfig):
    """Mixture of truncated normal laws."""

    summary: ClassVar[str] = "mixture of Gaussians cut at the ends of an interval"
    supports: ClassVar[tuple[type[Support], ...]] = (Interval,)

    kind: Literal["truncated-normal"] = "truncated-normal"
    components: int = Field(default=1, ge=1, description="laws in the mixture")

    def build(self, support: Support) -> TruncatedNormal:
        assert isinstance(support, Interval)
        return TruncatedNormal(Unit.of(support), self.components)
