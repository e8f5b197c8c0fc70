"""Adversarial losses: what the critic and the generator minimise, and how the critic is kept smooth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from ...config import Config
from ...noise import Noise

Score = Callable[[Tensor], Tensor]
"""The critic at fixed conditions: rows (B, D) to scores (B,), higher for what it takes as real."""


class AdversarialLoss(Config):
    """Base: scores (B,) of real and generated samples to per-sample losses (B,)."""

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """What the critic minimises."""
        raise TypeError(f"{type(self).__name__} does not define critic(real, fake).")

    def generator(self, fake: Tensor) -> Tensor:
        """What the generator minimises; -D(G(z)) unless the loss says otherwise."""
        return -fake

    def penalty(self, score: Score, real: Tensor, fake: Tensor, noise: Noise) -> Tensor | None:
        """A term (B,) in the critic's gradient with respect to samples (B, D), if the loss has one."""
        return None

    @property
    def penalised(self) -> bool:
        """Whether `penalty` gives anything: the critic then needs double backward."""
        return False

    @property
    def bound(self) -> float | None:
        """Largest absolute value of a parameter of the critic, if the loss clips them."""
        return None


def squared_slope(score: Score, x: Tensor) -> Tensor:
    """Squared norm (B,) of the gradient of a critic with respect to rows (B, D), itself differentiable."""
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(score(x).sum(), x, create_graph=True)
    return slope.square().sum(dim=1)


class NonSaturating(AdversarialLoss):
    """Goodfellow et al., arXiv:1406.2661; gradient penalty on real samples: Mescheder et al., arXiv:1801.04406."""

    kind: Literal["non-saturating"] = "non-saturating"
    r1: float = Field(default=0.0, ge=0, description="weight of the gradient penalty on real samples; 0 for none")

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(-real) + F.softplus(fake)

    def generator(self, fake: Tensor) -> Tensor:
        return F.softplus(-fake)

    @property
    def penalised(self) -> bool:
        return self.r1 > 0

    def penalty(self, score: Score, real: Tensor, fake: Tensor, noise: Noise) -> Tensor | None:
        return self.r1 / 2 * squared_slope(score, real) if self.penalised else None


class LeastSquares(AdversarialLoss):
    """Mao et al., arXiv:1611.04076, with targets one for real and zero for generated samples."""

    kind: Literal["least-squares"] = "least-squares"

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return ((real - 1).square() + fake.square()) / 2

    def generator(self, fake: Tensor) -> Tensor:
        return (fake - 1).square() / 2


class Hinge(AdversarialLoss):
    """Lim & Ye, arXiv:1705.02894; Miyato et al., arXiv:1802.05957. Wants spectral normalisation."""

    kind: Literal["hinge"] = "hinge"

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.relu(1 - real) + F.relu(1 + fake)


class Wasserstein(AdversarialLoss):
    """Arjovsky et al., arXiv:1701.07875: the critic's parameters are clipped after every step."""

    kind: Literal["wasserstein"] = "wasserstein"
    clip: float = Field(default=0.01, gt=0, description="largest absolute value of a parameter of the critic")

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake - real

    @property
    def bound(self) -> float | None:
        return self.clip


class WassersteinGP(AdversarialLoss):
    """WGAN-GP, Gulrajani et al., arXiv:1704.00028: slopes of one between real and generated samples."""

    kind: Literal["wgan-gp"] = "wgan-gp"
    weight: float = Field(default=10.0, gt=0, description="weight of the gradient penalty")

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake - real

    @property
    def penalised(self) -> bool:
        return True

    def penalty(self, score: Score, real: Tensor, fake: Tensor, noise: Noise) -> Tensor | None:
        between = torch.lerp(fake, real, noise.uniform("between", (1,)))
        # the small number keeps the root's derivative finite where the critic is flat
        return self.weight * ((squared_slope(score, between) + 1e-12).sqrt() - 1).square()


Loss = Annotated[NonSaturating | LeastSquares | Hinge | Wasserstein | WassersteinGP, Field(discriminator="kind")]
