"""Conditional generative adversarial network: a generator maps noise to samples, and a critic scores samples.

Goodfellow et al., arXiv:1406.2661; the losses are in `losses.py`. Noise has the shape of a sample, so that any backbone
can be the generator, and any backbone with a linear layer behind it the critic.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...context import Context
from ...data import Batch
from ...layout import Layout
from ...nets import AnyNetwork, NetworkConfig
from ...nets.residual import ResidualConfig
from ...nets.spectral import spectral_norm
from ...noise import Noise
from ...objective import Losses, Objective, Player, Stage
from ...spaces import Space, Tree
from .. import FamilyConfig, families
from .losses import Loss, NonSaturating


class Critic(nn.Module):
    """Scores samples: a backbone and a linear layer.

    Args:
        backbone: x (B, D), no time and context to features (B, width).
        width: features of the backbone.
        minibatch_std: whether the linear layer also sees the standard deviation over the batch, averaged over the
            features of x (after Karras et al., arXiv:1710.10196, section 3, who take it of hidden features).

    >>> from maquette.core.spaces import Vector
    >>> critic = Critic(ResidualConfig(width=8).build(Vector(dim=2)), 2, minibatch_std=True)
    >>> critic(torch.zeros(5, 2), Context()).shape
    torch.Size([5])
    """

    def __init__(self, backbone: nn.Module, width: int, *, minibatch_std: bool) -> None:
        super().__init__()
        self.backbone, self.minibatch_std = backbone, minibatch_std
        self.out_proj = nn.Linear(width + minibatch_std, 1)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Samples (B, D) and context to scores (B,), higher for samples that look real."""
        features = self.backbone(x, None, context)
        if self.minibatch_std:
            std = (x.var(dim=0, correction=0) + 1e-8).sqrt().mean()
            features = torch.cat((features, std.expand(x.shape[0], 1)), dim=1)
        return self.out_proj(features).squeeze(1)

    def extra_repr(self) -> str:
        return f"minibatch_std={self.minibatch_std}"


class GAN(nn.Module):
    """Generator and critic; sampling needs the generator alone.

    >>> from maquette.core.spaces import Vector
    >>> model: GAN = GANConfig(n_critic=5).build(Vector(dim=2))
    >>> [(player.name, player.turns) for player in model.stages()[0].players]
    [('critic', 5), ('generator', 1)]
    """

    def __init__(self, config: GANConfig, layout: Layout, generator: nn.Module, critic: Critic) -> None:
        super().__init__()
        self.config, self.layout, self.generator, self.critic = config, layout, generator, critic

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Draw n samples; reads the noise "prior" (D,)."""
        z = self.layout.prior(n, noise)
        return self.layout.unflatten(self.generator(z, None, self.layout.context(condition, z)))

    def stages(self) -> list[Stage]:
        """One stage, "fit", with two players: "critic", which takes `n_critic` steps, then "generator"."""
        critic = Player("critic", CriticObjective(self), (self.critic,), self.config.n_critic, average="none")
        return [Stage("fit", (critic, Player("generator", GeneratorObjective(self), (self.generator,))))]


class CriticObjective(Objective):
    """The critic's loss (B,), with its gradient penalty. Reads the noise "prior" (D,) and that of the penalty.

    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> objective = CriticObjective(GANConfig(loss={"kind": "wgan-gp"}).build(Vector(dim=2)))
    >>> index = torch.arange(3)
    >>> sorted(objective(Batch(torch.randn(3, 2), None, index), KeyedNoise(0, index)).metrics)
    ['fake', 'penalty', 'real']
    """

    def __init__(self, model: GAN) -> None:
        super().__init__()
        self.model, self.loss = model, model.config.loss
        self.coupled, self.double_backward = model.config.minibatch_std, model.config.loss.has_penalty

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        layout, critic = self.model.layout, self.model.critic
        real = layout.flatten(batch.x)
        context = layout.context(batch.condition, real)
        with torch.no_grad():
            fake = self.model.generator(layout.prior(real.shape[0], noise), None, context)
        real_score, fake_score = critic(real, context), critic(fake, context)
        losses = self.loss.critic(real_score, fake_score)
        metrics = {"real": real_score.detach(), "fake": fake_score.detach()}
        penalty = self.loss.penalty(lambda x: critic(x, context), real, fake, noise)
        if penalty is not None:
            losses, metrics["penalty"] = losses + penalty, penalty.detach()
        return Losses(losses, metrics=metrics)

    @torch.no_grad()
    def update(self, statistics: dict[str, Tensor]) -> None:
        """Clip the critic's parameters if the loss has a `weight_clip` (arXiv:1701.07875, algorithm 1).

        Not in the forward pass, where a clamped weight would have no gradient and stay clamped. Clipping is
        elementwise, so it is the same on every process, sharded or not.
        """
        clip = self.loss.weight_clip
        if clip is not None:
            for parameter in self.model.critic.parameters():
                parameter.clamp_(-clip, clip)


class GeneratorObjective(Objective):
    """The generator's loss (B,). Of a batch only the conditions are used. Reads the noise "prior" (D,).

    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> index = torch.arange(3)
    >>> objective = GeneratorObjective(GANConfig().build(Vector(dim=2)))
    >>> objective(Batch(torch.randn(3, 2), None, index), KeyedNoise(0, index)).losses.shape
    torch.Size([3])
    """

    def __init__(self, model: GAN) -> None:
        super().__init__()
        self.model, self.coupled = model, model.config.minibatch_std

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        layout = self.model.layout
        z = layout.prior(len(batch), noise)
        context = layout.context(batch.condition, z)
        score = self.model.critic(self.model.generator(z, None, context), context)
        return Losses(self.model.config.loss.generator(score))


@families.register("gan")
class GANConfig(FamilyConfig):
    """Generative adversarial network.

    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> model = GANConfig().build(Vector(dim=2), Vector(dim=1))
    >>> model.sample(3, torch.zeros(3, 1), noise=KeyedNoise(0, torch.arange(3))).shape
    torch.Size([3, 2])
    """

    summary: ClassVar[str] = "a generator that maps noise to samples, against a critic"
    reference: ClassVar[str] = "Goodfellow et al., arXiv:1406.2661; CaloGAN, arXiv:1712.10321"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "product")
    model: ClassVar[type[nn.Module]] = GAN

    kind: Literal["gan"] = "gan"
    generator: AnyNetwork = ResidualConfig()
    critic: AnyNetwork = ResidualConfig()
    loss: Loss = NonSaturating()
    spectral_norm: bool = Field(default=False, description="spectral normalisation of the critic")
    minibatch_std: bool = Field(
        default=False, description="the critic sees the standard deviation over its batch; couples samples"
    )
    n_critic: int = Field(default=1, ge=1, description="steps of the critic per step of the generator")

    def build(self, space: Space, condition: Space | None = None) -> GAN:
        layout = Layout(space, condition)
        generator_config: NetworkConfig = self.generator
        critic_config: NetworkConfig = self.critic
        critic = Critic(critic_config.build(space, condition), layout.features, minibatch_std=self.minibatch_std)
        if self.spectral_norm:
            spectral_norm(critic)
        return GAN(self, layout, generator_config.build(space, condition), critic)

    @classmethod
    def example(cls) -> GANConfig:
        small = ResidualConfig(width=16, depth=1)
        return cls(generator=small, critic=small, loss=NonSaturating(r1=0.1), spectral_norm=True)
