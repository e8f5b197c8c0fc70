"""The Gaussian with a diagonal covariance: what posteriors and priors of latent variables are made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...likelihoods import at_least_float32

_REACH = 7.0  # largest |log scale|: e^7 is far beyond any use, and exp cannot overflow


@dataclass(frozen=True)
class DiagonalNormal:
    """Independent Gaussians.

    Attributes:
        mean: (...).
        log_scale: (...), log of the standard deviations.
    """

    mean: Tensor
    log_scale: Tensor

    @classmethod
    def of(cls, parameters: Tensor, dim: int = 1) -> DiagonalNormal:
        """From a network's output, whose halves along `dim` are means and log scales (softly kept within reach)."""
        mean, raw = at_least_float32(parameters).chunk(2, dim=dim)
        return cls(mean, _REACH * torch.tanh(raw / _REACH))

    def moved(self, by: DiagonalNormal) -> DiagonalNormal:
        """The residual parametrisation N(mean + d, (scale * s)^2) of Vahdat & Kautz, arXiv:2007.03898, 3.2."""
        return DiagonalNormal(self.mean + by.mean, self.log_scale + by.log_scale)

    def at(self, unit: Tensor) -> Tensor:
        """The place of standard normal numbers (...): a reparametrised draw."""
        return self.mean + self.log_scale.exp() * unit

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of each number, (...)."""
        u = (z - self.mean) * torch.exp(-self.log_scale)
        return -0.5 * u.square() - self.log_scale - 0.5 * math.log(2 * math.pi)

    def kl(self, other: DiagonalNormal) -> Tensor:
        """KL(self || other) of each number, (...)."""
        log_ratio = self.log_scale - other.log_scale
        shift = (self.mean - other.mean) * torch.exp(-other.log_scale)
        return 0.5 * (torch.expm1(2 * log_ratio) + shift.square()) - log_ratio

    @classmethod
    def standard(cls, like: Tensor) -> DiagonalNormal:
        """The standard normal of as many numbers as `like`."""
        return cls(torch.zeros_like(like), torch.zeros_like(like))
