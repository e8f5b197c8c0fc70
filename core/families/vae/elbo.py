"""The loss of variational autoencoders: the evidence lower bound, with the ways of easing it that are in use.

log p(x) >= E_q log p(x | z) - beta * sum over groups of KL(q || p). With beta = 1 it is the bound itself (Kingma &
Welling, arXiv:1312.6114); beta > 1 asks for simpler codes (Higgins et al., "beta-VAE", ICLR 2017). A warm-up lets beta
rise from zero, and free bits charge no group of latent numbers less than a fixed price (Kingma et al.,
arXiv:1606.04934, appendix C.8): both keep units alive that the prior would have silenced before they could be of use.
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
    """How the divergence is weighed in training; scores are always those of the bound itself."""

    beta: float = Field(default=1.0, ge=0, description="weight of the divergence")
    warmup: int = Field(default=0, ge=0, description="steps over which the weight rises linearly from zero")
    free_nats: float = Field(default=0.0, ge=0, description="divergence of a group that costs nothing, nats")


class ELBOObjective(Objective):
    """Negative weighted bound per number, nats; metrics are nats per sample.

    Two things here are not functions of the batch, and change only in `update`, alike on all processes and saved with
    the fit: the number of the step, which decides the warm-up, and each group's mean divergence at the last step, which
    decides whether the group is charged. Free bits are max(free, mean over the batch) in the paper; the gradient of
    that needs no more than the side on which the mean lies, and with the mean one step old the loss of a sample does
    not depend on its batch.

    Args:
        model: Variational.
        config: weights.
        groups: in how many groups the model's evidence counts divergence.
        numbers: of a sample, by which losses are divided.
    """

    step: Tensor
    mean: Tensor

    def __init__(self, model: Any, config: ELBOConfig, groups: int, numbers: int) -> None:
        super().__init__()
        self.model, self.config, self.numbers = model, config, numbers
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.full((groups,), torch.inf))  # at first, all groups are charged

    def elbo(self, batch: Batch, noise: Noise) -> tuple[ELBO, Tensor | float]:
        """Terms of the bound, and what else there is to pay per sample."""
        return self.model.elbo(batch.x, batch.condition, noise=noise), 0.0

    def weight(self) -> Tensor | float:
        """Weight of the divergence at this step."""
        config = self.config
        return config.beta * ((self.step + 1) / config.warmup).clamp(max=1) if config.warmup else config.beta

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        evidence, price = self.elbo(batch, noise)
        kl = torch.cat(list(evidence.kl.values()), dim=1)
        spared = self.mean.clamp(min=0) < self.config.free_nats  # by rounding, a mean may lie below zero
        charged = torch.where(spared, self.config.free_nats, kl).sum(1)
        losses = (self.weight() * charged - evidence.reconstruction + price) / self.numbers
        metrics = {"reconstruction": evidence.reconstruction, "bound": evidence.bound}
        metrics |= {name: terms.sum(1) for name, terms in evidence.kl.items()}
        return Losses(
            losses,
            metrics={name: value.detach() for name, value in metrics.items()},
            statistics={"divergence": kl.detach().sum(0), "samples": kl.new_tensor(len(kl))},
        )

    def update(self, statistics: dict[str, Tensor]) -> None:
        self.step += 1
        self.mean.copy_(statistics["divergence"] / statistics["samples"])
