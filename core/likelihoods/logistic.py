"""Integer levels by a mixture of logistics, each level taking the mass between its edges.

Salimans et al., "PixelCNN++", arXiv:1701.05517, section 2.1: neighbouring levels are alike by construction, with three
numbers per component instead of one per level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from ..spaces import Levels, Support
from . import LikelihoodConfig, likelihoods
from .mixture import choose

_SHARPEST, _BROADEST = -7.0, 7.0  # log scales in units of half the range; the least is that of the paper


@dataclass(frozen=True)
class LogisticMixture:
    """Levels 0 .. count - 1 laid on [-1, 1]; the lowest and highest take the tails. Parameters are K logits, K means
    and K log scales.

    Args:
        count: number of levels.
        components: K.
    """

    count: int
    components: int
    embed_dim: int = 1
    uniforms: int = 2
    discrete: bool = True

    @property
    def parameters(self) -> int:
        return 3 * self.components

    def embed(self, x: Tensor, like: Tensor) -> Tensor:
        return (x.to(like.dtype) * (2 / (self.count - 1)) - 1).unsqueeze(-1)

    def _pieces(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights, means and log scales, each (..., K)."""
        logits, means, scales = parameters.chunk(3, dim=-1)
        return logits.log_softmax(-1), means, scales.clamp(_SHARPEST, _BROADEST)

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        weights, means, scales = self._pieces(parameters)
        centered = self.embed(x, parameters) - means
        half, sharpness = 1 / (self.count - 1), torch.exp(-scales)
        above, below = sharpness * (centered + half), sharpness * (centered - half)
        apart = -2 * half * sharpness  # below - above, which would cancel
        # log(sigmoid(above) - sigmoid(below)) without cancellation, whichever tail the level lies in:
        # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a))
        inner = F.logsigmoid(above) + F.logsigmoid(-below) + torch.log(-torch.expm1(apart))
        level = x.unsqueeze(-1)
        first, last = F.logsigmoid(above), F.logsigmoid(-below)
        mass = torch.where(level <= 0, first, torch.where(level >= self.count - 1, last, inner))
        return (weights + mass).logsumexp(-1)

    def log_masses(self, parameters: Tensor) -> Tensor:
        levels = torch.arange(self.count, device=parameters.device)
        return self.log_prob(parameters.unsqueeze(-2), levels.expand(*parameters.shape[:-1], -1))

    def draw(self, parameters: Tensor, u: Tensor) -> Tensor:
        weights, means, scales = self._pieces(parameters)
        k = choose(weights, u[..., 0])
        value = means.gather(-1, k) + scales.gather(-1, k).exp() * torch.logit(u[..., 1:])
        return ((value.squeeze(-1) + 1) * (self.count - 1) / 2).round().clamp(0, self.count - 1).long()

    def mean(self, parameters: Tensor) -> Tensor:
        """Expectation over the levels themselves, O(count)."""
        levels = torch.arange(self.count, device=parameters.device)
        return (self.log_masses(parameters).exp() * levels).sum(-1)


@likelihoods.register("logistic-mixture")
class LogisticMixtureConfig(LikelihoodConfig):
    """Discretised mixture of logistics."""

    summary: ClassVar[str] = "ordered levels by a discretised mixture of logistics"
    supports: ClassVar[tuple[type[Support], ...]] = (Levels,)

    kind: Literal["logistic-mixture"] = "logistic-mixture"
    components: int = Field(default=10, ge=1, description="logistics in the mixture")

    def build(self, support: Support) -> LogisticMixture:
        assert isinstance(support, Levels)
        return LogisticMixture(support.count, self.components)
