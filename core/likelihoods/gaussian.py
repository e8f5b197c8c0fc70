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
from .mixture import Mixture

_LEAST = 1e-3  # no component is narrower: a likelihood without a floor grows without bound


@dataclass(frozen=True)
class Gaussian:
    """N(x; m, s^2), given m and log s."""

    uniforms: int = 1

    def embed(self, x: Tensor, like: Tensor) -> Tensor:
        return x.to(like.dtype).unsqueeze(-1)

    def shapes(self, one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
        return one, _LEAST + torch.exp(two.clamp(max=15.0))

    def log_prob(self, one: Tensor, two: Tensor, x: Tensor) -> Tensor:
        z = (x - one) / two
        return -0.5 * z.square() - two.log() - 0.5 * math.log(2 * math.pi)

    def draw(self, one: Tensor, two: Tensor, u: Tensor) -> Tensor:
        return one + two * torch.special.ndtri(u[..., 0])

    def mean(self, one: Tensor, two: Tensor) -> Tensor:
        return one


@likelihoods.register("gaussian-mixture")
class GaussianMixtureConfig(LikelihoodConfig):
    """Mixture of Gaussians."""

    summary: ClassVar[str] = "mixture of Gaussians on the real line"
    supports: ClassVar[tuple[type[Support], ...]] = (Real,)
    usual: ClassVar[tuple[type[Support], ...]] = (Real,)

    kind: Literal["gaussian-mixture"] = "gaussian-mixture"
    components: int = Field(default=1, ge=1, description="Gaussians in the mixture; one is the plain Gaussian")

    def build(self, support: Support) -> Mixture:
        return Mixture(Gaussian(), self.components)
