"""Adversarial losses: what the critic and the generator minimise, and how the critic is kept smooth."""

from __future__ import annotations

from abc import abstractmethod
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
"""The critic at fixed context: samples (B, D) to scores (B,), higher for samples that look real."""


class AdversarialLoss(Config):
    """Base of adversarial losses: scores (B,) of real and generated samples to losses (B,).

    >>> class Linear(AdversarialLoss):
    ...     def critic(self, real, fake):
    ...         return fake - real
    >>> Linear().generator(torch.tensor([2.0])), Linear().has_penalty
    (tensor([-2.]), False)
    """

    @abstractmethod
    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """What the critic minimises, without the penalty."""

    def generator(self, fake: Tensor) -> Tensor:
        """What the generator minimises, -D(G(z)) by default."""
        return -fake

    def penalty(self, score: Score, real: Tensor, fake: Tensor, noise: Noise) -> Tensor | None:
        """A term (B,) in the critic's gradient with respect to samples (B, D), if the loss has one."""
        return None

    @property
    def has_penalty(self) -> bool:
        """Whether `penalty` returns a tensor: the critic then needs double backward."""
        return False

    @property
    def weight_clip(self) -> float | None:
        """Largest absolute value of a parameter of the critic, if the loss clips them."""
        return None


def squared_gradient_norm(score: Score, x: Tensor) -> Tensor:
    """Squared norm (B,) of a critic's gradient with respect to samples x (B, D), itself differentiable.

    >>> squared_gradient_norm(lambda x: 3 * x[:, 0], torch.zeros(2, 4))
    tensor([9., 9.])
    """
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(score(x).sum(), x, create_graph=True)
    return gradient.square().sum(dim=1)


class NonSaturating(AdversarialLoss):
    """Goodfellow et al., arXiv:1406.2661; R1 penalty on real samples: Mescheder et al., arXiv:1801.04406.

    >>> loss = NonSaturating(r1=1.0)
    >>> loss.critic(real=torch.zeros(1), fake=torch.zeros(1))  # 2 log 2: the same score for both
    tensor([1.3863])
    """

    kind: Literal["non-saturating"] = "non-saturating"
    r1: float = Field(default=0.0, ge=0, description="weight of the gradient penalty on real samples (R1); 0 for none")

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(-real) + F.softplus(fake)

    def generator(self, fake: Tensor) -> Tensor:
        return F.softplus(-fake)

    @property
    def has_penalty(self) -> bool:
        return self.r1 > 0

    def penalty(self, score: Score, real: Tensor, fake: Tensor, noise: Noise) -> Tensor | None:
        return self.r1 / 2 * squared_gradient_norm(score, real) if self.has_penalty else None


class LeastSquares(AdversarialLoss):
    """Mao et al., arXiv:1611.04076, with targets one for real and zero for generated samples.

    >>> LeastSquares().critic(real=torch.tensor([1.0]), fake=torch.tensor([0.0]))
    tensor([0.])
    """

    kind: Literal["least-squares"] = "least-squares"

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return ((real - 1).square() + fake.square()) / 2

    def generator(self, fake: Tensor) -> Tensor:
        return (fake - 1).square() / 2


class Hinge(AdversarialLoss):
    """Lim & Ye, arXiv:1705.02894; Miyato et al., arXiv:1802.05957. Meant for a critic with spectral normalisation.

    >>> Hinge().critic(real=torch.tensor([0.5, 2.0]), fake=torch.tensor([-2.0, -2.0]))
    tensor([0.5000, 0.0000])
    """

    kind: Literal["hinge"] = "hinge"

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.relu(1 - real) + F.relu(1 + fake)


class Wasserstein(AdversarialLoss):
    """Arjovsky et al., arXiv:1701.07875: the critic's parameters are clipped after every step.

    >>> Wasserstein(clip=0.01).critic(real=torch.tensor([3.0]), fake=torch.tensor([1.0]))
    tensor([-2.])
    """

    kind: Literal["wasserstein"] = "wasserstein"
    clip: float = Field(default=0.01, gt=0, description="largest absolute value of a parameter of the critic")

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake - real

    @property
    def weight_clip(self) -> float | None:
        return self.clip


class WassersteinGP(AdversarialLoss):
    """WGAN-GP, Gulrajani et al., arXiv:1704.00028: gradients of norm one between real and generated samples.

    The penalty is two-sided: norms below one are penalised like those above. Reads the noise "between" (1,).

    >>> from maquette.core.noise import KeyedNoise
    >>> real, fake, noise = torch.ones(2, 4), torch.zeros(2, 4), KeyedNoise(0, torch.arange(2))
    >>> WassersteinGP(weight=10.0).penalty(lambda x: 3 * x[:, 0], real, fake, noise)  # 10 (3 - 1)^2
    tensor([40., 40.])
    """

    kind: Literal["wgan-gp"] = "wgan-gp"
    weight: float = Field(default=10.0, gt=0, description="weight of the gradient penalty")

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake - real

    @property
    def has_penalty(self) -> bool:
        return True

    def penalty(self, score: Score, real: Tensor, fake: Tensor, noise: Noise) -> Tensor | None:
        between = torch.lerp(fake, real, noise.uniform("between", (1,)))
        # 1e-12 keeps the derivative of the root finite where the gradient is zero
        return self.weight * ((squared_gradient_norm(score, between) + 1e-12).sqrt() - 1).square()


Loss = Annotated[NonSaturating | LeastSquares | Hinge | Wasserstein | WassersteinGP, Field(discriminator="kind")]
