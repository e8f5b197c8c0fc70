"""The normal distribution with diagonal covariance: posteriors and priors of latent variables."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...likelihoods import at_least_float32

_MAX_LOG_SCALE = 7.0  # e^7 is far beyond any use, and exp cannot overflow


@dataclass(frozen=True)
class DiagonalNormal:
    """Independent normal distributions.

    Attributes:
        mean: (...).
        log_scale: (...), log of the standard deviations.

    >>> normal = DiagonalNormal(torch.zeros(3), torch.zeros(3))
    >>> normal.log_prob(torch.zeros(3))
    tensor([-0.9189, -0.9189, -0.9189])
    >>> normal.kl(DiagonalNormal(torch.ones(3), torch.zeros(3)))
    tensor([0.5000, 0.5000, 0.5000])
    """

    mean: Tensor
    log_scale: Tensor

    @classmethod
    def from_parameters(cls, parameters: Tensor, dim: int = 1) -> DiagonalNormal:
        """From a network's output: its halves along `dim` are means and log scales, the latter softly bounded."""
        mean, raw = at_least_float32(parameters).chunk(2, dim=dim)
        return cls(mean, _MAX_LOG_SCALE * torch.tanh(raw / _MAX_LOG_SCALE))

    @classmethod
    def standard(cls, like: Tensor) -> DiagonalNormal:
        """Standard normal of the shape of `like`."""
        return cls(torch.zeros_like(like), torch.zeros_like(like))

    def shifted(self, by: DiagonalNormal) -> DiagonalNormal:
        """The residual parametrisation N(mean + d, (scale * s)^2) of Vahdat & Kautz, arXiv:2007.03898, section 3.2."""
        return DiagonalNormal(self.mean + by.mean, self.log_scale + by.log_scale)

    def reparametrise(self, eps: Tensor) -> Tensor:
        """The draw that standard normal noise eps (...) is mapped to, mean + scale * eps."""
        return self.mean + self.log_scale.exp() * eps

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of each component, (...), nats."""
        u = (z - self.mean) * torch.exp(-self.log_scale)
        return -0.5 * u.square() - self.log_scale - 0.5 * math.log(2 * math.pi)

    def kl(self, other: DiagonalNormal) -> Tensor:
        """KL(self || other) of each component, (...), nats."""
        log_ratio = self.log_scale - other.log_scale
        shift = (self.mean - other.mean) * torch.exp(-other.log_scale)
        return 0.5 * (torch.expm1(2 * log_ratio) + shift.square()) - log_ratio
