"""Discretised mixture of logistics: each integer level has the mass between its edges.

Salimans et al., "PixelCNN++", arXiv:1701.05517, section 2.1: neighbouring levels have similar probabilities by
construction, with three parameters per component instead of one per level.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from ..errors import ConfigError
from ..spaces import Levels, Support
from . import LikelihoodConfig, likelihoods
from .mixture import choose_component

_MIN_LOG_SCALE, _MAX_LOG_SCALE = -7.0, 7.0  # in units of half the range; the minimum is that of the paper


@dataclass(frozen=True)
class LogisticMixture:
    """Levels 0 .. count - 1, mapped to [-1, 1]; the lowest and the highest level include the tails.

    Its parameters are K logits of the weights, K means and K log scales.

    Args:
        count: number of levels.
        components: K.

    >>> mixture = LogisticMixture(count=256, components=1)
    >>> mixture.log_masses(torch.zeros(3)).exp().sum()
    tensor(1.0000)
    """

    count: int
    components: int
    embed_dim: int = field(default=1, repr=False)
    uniforms: int = field(default=2, repr=False)
    discrete: bool = field(default=True, repr=False)

    @property
    def parameters(self) -> int:
        return 3 * self.components

    def embed(self, x: Tensor, like: Tensor) -> Tensor:
        return (x.to(like.dtype) * (2 / (self.count - 1)) - 1).unsqueeze(-1)

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights, means and log scales, each (..., K)."""
        logits, means, log_scales = parameters.chunk(3, dim=-1)
        return logits.log_softmax(-1), means, log_scales.clamp(_MIN_LOG_SCALE, _MAX_LOG_SCALE)

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        log_weights, means, log_scales = self._split(parameters)
        centered = self.embed(x, parameters) - means
        half, sharpness = 1 / (self.count - 1), torch.exp(-log_scales)
        above, below = sharpness * (centered + half), sharpness * (centered - half)
        difference = -2 * half * sharpness  # below - above without cancellation
        # log(sigmoid(above) - sigmoid(below)) without cancellation, whichever tail the level lies in:
        # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a))
        inner = F.logsigmoid(above) + F.logsigmoid(-below) + torch.log(-torch.expm1(difference))
        level = x.unsqueeze(-1)
        lowest, highest = F.logsigmoid(above), F.logsigmoid(-below)
        log_mass = torch.where(level <= 0, lowest, torch.where(level >= self.count - 1, highest, inner))
        return (log_weights + log_mass).logsumexp(-1)

    def log_masses(self, parameters: Tensor) -> Tensor:
        levels = torch.arange(self.count, device=parameters.device)
        return self.log_prob(parameters.unsqueeze(-2), levels.expand(*parameters.shape[:-1], -1))

    def draw(self, parameters: Tensor, u: Tensor) -> Tensor:
        log_weights, means, log_scales = self._split(parameters)
        k = choose_component(log_weights, u[..., 0])
        value = means.gather(-1, k) + log_scales.gather(-1, k).exp() * torch.logit(u[..., 1:])
        return ((value.squeeze(-1) + 1) * (self.count - 1) / 2).round().clamp(0, self.count - 1).long()

    def mean(self, parameters: Tensor) -> Tensor:
        """Expectation over the levels themselves, O(count)."""
        levels = torch.arange(self.count, device=parameters.device)
        return (self.log_masses(parameters).exp() * levels).sum(-1)


@likelihoods.register("logistic-mixture")
class LogisticMixtureConfig(LikelihoodConfig):
    """Discretised mixture of logistics.

    >>> likelihood = LogisticMixtureConfig(components=5).build(Levels(count=256))
    >>> likelihood.parameters  # instead of the 256 logits of a categorical distribution
    15
    """

    summary: ClassVar[str] = "ordered levels by a discretised mixture of logistics"
    supports: ClassVar[tuple[type[Support], ...]] = (Levels,)

    kind: Literal["logistic-mixture"] = "logistic-mixture"
    components: int = Field(default=10, ge=1, description="logistics in the mixture")

    def build(self, support: Support) -> LogisticMixture:
        if (count := self.require(support, Levels).count) < 2:
            raise ConfigError("logistic-mixture: expected at least 2 levels, found 1; take categorical.")
        return LogisticMixture(count, self.components)
