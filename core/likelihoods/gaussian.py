"""Mixture of Gaussians on the real line; with one component, the Gaussian."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from ..spaces import Real, Support
from . import LikelihoodConfig, likelihoods
from .mixture import Mixture

_MIN_SCALE = 1e-3  # without a lower bound of the scales, the likelihood of repeated values is unbounded


@dataclass(frozen=True)
class Gaussian:
    """N(x; loc, scale^2).

    >>> Gaussian().log_prob(torch.tensor(0.0), torch.tensor(1.0), torch.tensor(1.0))
    tensor(-1.4189)
    """

    uniforms: int = field(default=1, repr=False)

    def embed(self, x: Tensor, like: Tensor) -> Tensor:
        return x.to(like.dtype).unsqueeze(-1)

    def constrain(self, loc: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
        return loc, _MIN_SCALE + torch.exp(log_scale.clamp(max=15.0))

    def log_prob(self, loc: Tensor, scale: Tensor, x: Tensor) -> Tensor:
        z = (x - loc) / scale
        return -0.5 * z.square() - scale.log() - 0.5 * math.log(2 * math.pi)

    def draw(self, loc: Tensor, scale: Tensor, u: Tensor) -> Tensor:
        return loc + scale * torch.special.ndtri(u[..., 0])

    def mean(self, loc: Tensor, scale: Tensor) -> Tensor:
        return loc


@likelihoods.register("gaussian-mixture")
class GaussianMixtureConfig(LikelihoodConfig):
    """Mixture of Gaussians.

    >>> likelihood = GaussianMixtureConfig(components=3).build(Real())
    >>> likelihood.parameters, likelihood.uniforms  # a component is chosen, then a value drawn from it
    (9, 2)
    """

    summary: ClassVar[str] = "mixture of Gaussians on the real line"
    supports: ClassVar[tuple[type[Support], ...]] = (Real,)
    default_for: ClassVar[tuple[type[Support], ...]] = (Real,)

    kind: Literal["gaussian-mixture"] = "gaussian-mixture"
    components: int = Field(default=1, ge=1, description="Gaussians in the mixture; one is the plain Gaussian")

    def build(self, support: Support) -> Mixture:
        self.require(support, Real)
        return Mixture(Gaussian(), self.components)
