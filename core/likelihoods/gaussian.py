"""A mixture of Gaussians on the real line; with one component, the Gaussian."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from ..spaces import Real, Support
from . import LikelihoodConfig, likelihoods
from .mixture import choose

_LEAST = 1e-3  # no component is narrower: a likelihood without a floor grows without bound


@dataclass(frozen=True)
class GaussianMixture:
    """sum_k w_k N(x; m_k, s_k^2), parameters laid out as K logits, K means and K raw scales.

    Args:
        components: K.
    """

    components: int
    columns: int = 1
    uniforms: int = 2
    discrete: bool = False

    @property
    def parameters(self) -> int:
        return 3 * self.components

    def spread(self, x: Tensor, like: Tensor) -> Tensor:
        return x.to(like.dtype).unsqueeze(-1)

    def _pieces(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights, means and scales, each (..., K)."""
        logits, means, raw = parameters.chunk(3, dim=-1)
        return logits.log_softmax(-1), means, _LEAST + torch.exp(raw.clamp(max=15.0))

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        weights, means, scales = self._pieces(parameters)
        z = (x.unsqueeze(-1) - means) / scales
        return (weights - 0.5 * z.square() - scales.log() - 0.5 * math.log(2 * math.pi)).logsumexp(-1)

    def draw(self, parameters: Tensor, u: Tensor) -> Tensor:
        weights, means, scales = self._pieces(parameters)
        k = choose(weights, u[..., 0])
        return (means.gather(-1, k) + scales.gather(-1, k) * torch.special.ndtri(u[..., 1:])).squeeze(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        weights, means, _ = self._pieces(parameters)
        return (weights.exp() * means).sum(-1)


@likelihoods.register("gaussian-mixture")
class GaussianMixtureConfig(LikelihoodConfig):
    """Mixture of Gaussians."""

    summary: ClassVar[str] = "mixture of Gaussians on the real line"
    supports: ClassVar[tuple[type[Support], ...]] = (Real,)
    usual: ClassVar[tuple[type[Support], ...]] = (Real,)

    kind: Literal["gaussian-mixture"] = "gaussian-mixture"
    components: int = Field(default=1, ge=1, description="Gaussians in the mixture; one is the plain Gaussian")

    def build(self, support: Support) -> GaussianMixture:
        return GaussianMixture(self.components)
