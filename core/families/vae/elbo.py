"""The loss of variational autoencoders: the evidence lower bound, with KL weight, warm-up and free bits.

log p(x) >= E_q log p(x | z) - beta * sum over groups of KL(q || p). With beta = 1 it is the bound itself (Kingma &
Welling, arXiv:1312.6114); beta > 1 makes codes simpler (Higgins et al., "beta-VAE", ICLR 2017). A warm-up raises beta
linearly from zero (Bowman et al., arXiv:1511.06349). Free bits charge every group of latent variables at least a fixed
number of nats (Kingma et al., arXiv:1606.04934, appendix C.8). Both keep latent variables in use that the KL term would
switch off early in training.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from ...capabilities import ELBO
from ...config import Config
from ...data import Batch
from ...noise import Noise
from ...objective import Losses, Objective


class ELBOConfig(Config):
    """How the KL divergence is weighted in training; reported likelihoods are always those of the bound itself.

    >>> ELBOConfig(beta=4.0)
    ELBOConfig(beta=4.0, warmup=0, free_nats=0.0)
    """

    beta: float = Field(default=1.0, ge=0, description="weight of the KL divergence")
    warmup: int = Field(default=0, ge=0, description="steps over which the weight rises linearly from zero")
    free_nats: float = Field(default=0.0, ge=0, description="KL divergence of a group below which it costs the same")


class ELBOObjective(Objective):
    """Negative weighted bound per feature of a sample, nats; metrics are nats per sample.

    Two buffers change in `update` alone, and are saved with the fit: the number of the step, which decides the warm-up,
    and each group's mean KL at the last step, which decides whether the group is below the free bits. The paper's free
    bits are max(free, mean over the batch). The gradient of that depends only on which of the two is larger, and with
    the mean of the last step the loss of a sample does not depend on its batch.

    Args:
        model: a `Variational` model.
        config: weights.
        groups: number of KL terms of the model.
        features: D of a sample, by which losses are divided.

    >>> from maquette.core.families.vae.vae import VAEConfig
    >>> from maquette.core.spaces import Vector
    >>> model = VAEConfig(latent=2).build(Vector(dim=3))
    >>> objective = ELBOObjective(model, ELBOConfig(warmup=4), groups=2, features=3)
    >>> objective.weight()
    tensor(0.2500)
    >>> objective.update({"kl": torch.zeros(2), "samples": torch.tensor(1.0)})
    >>> objective.weight()
    tensor(0.5000)
    """

    step: Tensor
    mean_kl: Tensor

    def __init__(self, model: Any, config: ELBOConfig, groups: int, features: int) -> None:
        super().__init__()
        self.model, self.config, self.features = model, config, features
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.register_buffer(
            "mean_kl", torch.full((groups,), torch.inf)
        )  # before the first step, no group is below the free bits

    def extra_repr(self) -> str:
        config = self.config
        return f"beta={config.beta}, warmup={config.warmup}, free_nats={config.free_nats}"

    def elbo(self, batch: Batch, noise: Noise) -> tuple[ELBO, Tensor | float]:
        """Terms of the bound, and a penalty added to each sample's loss."""
        return self.model.elbo(batch.x, batch.condition, noise=noise), 0.0

    def weight(self) -> Tensor | float:
        """Weight of the KL divergence at this step."""
        config = self.config
        return config.beta * ((self.step + 1) / config.warmup).clamp(max=1) if config.warmup else config.beta

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        elbo, penalty = self.elbo(batch, noise)
        kl = torch.cat(list(elbo.kl.values()), dim=1)
        free = self.mean_kl.clamp(min=0) < self.config.free_nats  # rounding may make a mean negative
        charged = torch.where(free, self.config.free_nats, kl).sum(1)
        losses = (self.weight() * charged - elbo.reconstruction + penalty) / self.features
        metrics = {"reconstruction": elbo.reconstruction, "bound": elbo.bound}
        metrics |= {name: terms.sum(1) for name, terms in elbo.kl.items()}
        return Losses(
            losses,
            metrics={name: value.detach() for name, value in metrics.items()},
            statistics={"kl": kl.detach().sum(0), "samples": kl.new_tensor(len(kl))},
        )

    def update(self, statistics: dict[str, Tensor]) -> None:
        self.step += 1
        self.mean_kl.copy_(statistics["kl"] / statistics["samples"])
