"""Denoising autoencoder: it learns to undo a corruption, and samples by a Markov chain that corrupts and denoises.

Vincent et al., "Extracting and composing robust features with denoising autoencoders", ICML 2008. Bengio et al.,
"Generalized denoising auto-encoders as generative models", arXiv:1305.6663: if P(x | y) is the posterior under the
corruption C(y | x), the chain that alternates the two has the data's distribution as its stationary one. The draw of
the last step has a density, the mean of P(x | y) over the chain's distribution of y. Bengio, Yao & Cho, "Bounding the
test log-likelihood of generative models", arXiv:1311.6184, bound its log by a few of these y.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...data import Batch
from ...likelihoods import AnyLikelihood
from ...nets.encoder_decoder import AnyCoder, CoderConfig, MLPCoderConfig
from ...noise import Noise, require_batch_size
from ...objective import Losses, Objective, Player, Stage
from ...samplers.markov import Kernel, markov_chain
from ...spaces import Space, Tree
from .. import FamilyConfig, families
from .corruption import Corruption, corruption_of
from .observation import ObservationModel


class DenoisingAutoencoder(nn.Module):
    """P(x | y, c) = prod_i p(x_i | decoder(encoder(y, c), c)_i), the corruption C(y | x), and their Markov chain.

    Args:
        config: what it was built from.
        observation: embeds samples for the encoder, scores and draws them given the decoder's output.
        corruption: C.
        encoder: inputs (B, D, K) and context (B, C) to codes (B, L).
        decoder: codes (B, L) and context (B, C) to parameters (B, D, P).

    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> model: DenoisingAutoencoder = DenoisingConfig(latent=4).build(Vector(dim=5))
    >>> y = model.corrupt(torch.zeros(2, 5), KeyedNoise(0, torch.arange(2)))
    >>> y.shape, model.reconstruct(y, None).shape
    (torch.Size([2, 5]), torch.Size([2, 5, 3]))
    """

    direction: Literal["lower"] = "lower"

    def __init__(
        self,
        config: DenoisingConfig,
        observation: ObservationModel,
        corruption: Corruption,
        encoder: nn.Module,
        decoder: nn.Module,
    ) -> None:
        super().__init__()
        self.config, self.observation, self.corruption = config, observation, corruption
        self.encoder, self.decoder = encoder, decoder

    def extra_repr(self) -> str:
        return f"latent={self.config.latent}, likelihood={self.observation.likelihood}, corruption={self.corruption!r}"

    def corrupt(self, x: Tensor, noise: Noise) -> Tensor:
        """Draw y (B, D) from C(y | x) at flat samples x (B, D); reads the noise "corruption"."""
        return self.corruption.apply(x, self.observation.layout.support, noise)

    def reconstruct(self, y: Tensor, context: Tensor | None) -> Tensor:
        """Parameters (B, D, P) of P(x | y) at corrupted flat samples y (B, D) and context (B, C)."""
        inputs = self.observation.embed(y, self.encoder)
        return self.decoder(self.encoder(inputs, context), context)

    def kernel(self, context: Tensor | None) -> Kernel:
        """One step of the chain, from flat samples (B, D) to flat samples."""

        def step(x: Tensor, noise: Noise) -> Tensor:
            return self.observation.draw_flat(self.reconstruct(self.corrupt(x, noise), context), noise)

        return step

    def last_parameters(self, n: int, condition: Tree | None, noise: Noise) -> Tensor:
        """Run n chains; parameters (n, D, P) of the distributions P(x | y) that their last steps draw from.

        A chain has `config.steps` steps; step k reads "corruption" and "numbers" under "step/k". It starts at a draw of
        the likelihood with all parameters zero, which reads the noise "numbers" (D, U).
        """
        observation, last = self.observation, self.config.steps - 1
        zeros = next(self.parameters()).new_zeros(n, observation.layout.features, observation.likelihood.parameters)
        context = observation.context(condition, zeros)
        x = markov_chain(self.kernel(context), observation.draw_flat(zeros, noise), last, noise)
        return self.reconstruct(self.corrupt(x, noise.fold(f"step/{last}")), context)

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Run n chains; reads the noise of `last_parameters`, and "numbers" under the last "step/k"."""
        require_batch_size(noise, n)
        parameters = self.last_parameters(n, condition, noise)
        return self.observation.draw(parameters, noise.fold(f"step/{self.config.steps - 1}"))

    def log_bound(self, x: Tree, condition: Tree | None = None, *, noise: Noise) -> Tensor:
        """log P(x | y, c), (B,), nats, at the last y of a chain; reads the noise of `last_parameters`.

        The mean of P(x | y, c) over chains is the density of their samples. Chains are independent of x and few come
        near it. So one draw is far below the log-density, and `inference.importance` needs many draws where D is large.
        """
        flat = self.observation.layout.flatten(x)
        return self.observation.log_prob_flat(self.last_parameters(len(flat), condition, noise), flat)

    def encode(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """The code of x without corruption, (B, L)."""
        inputs = self.observation.inputs(x, self.encoder)
        return self.encoder(inputs, self.observation.context(condition, inputs))

    def decode(self, z: Tensor, condition: Tree | None = None) -> Tree:
        """The mean of the samples whose code is z (B, L)."""
        return self.observation.mean(self.decoder(z, self.observation.context(condition, z)))

    def stages(self) -> list[Stage]:
        return [Stage("fit", (Player("model", DenoisingObjective(self), (self.encoder, self.decoder)),))]


class DenoisingObjective(Objective):
    """-log P(x | y) per feature, nats, for y corrupted from x; with walkback, for every y of a chain that starts at x.

    Walkback (arXiv:1305.6663, section 4): the model learns to return to x from wherever a few steps of its own chain
    lead, which removes spurious modes far from the data. Step k reads "corruption" and "numbers" under "step/k".

    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Binary, Vector
    >>> model = DenoisingConfig(latent=4, walkback=3).build(Vector(dim=5, support=Binary()))
    >>> index = torch.arange(2)
    >>> losses = DenoisingObjective(model)(Batch(torch.ones(2, 5), None, index), KeyedNoise(0, index))
    >>> losses.losses.shape, list(losses.metrics)  # the loss of the first of three steps is logged
    (torch.Size([2]), ['first'])
    """

    def __init__(self, model: DenoisingAutoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        model, observation = self.model, self.model.observation
        target = x = observation.layout.flatten(batch.x)
        context = observation.context(batch.condition, observation.embed(target, model.encoder))
        losses = []
        for k in range(model.config.walkback):
            noise_k = noise.fold(f"step/{k}")
            parameters = model.reconstruct(model.corrupt(x, noise_k), context)
            losses.append(-observation.log_prob_flat(parameters, target) / observation.layout.features)
            if k + 1 < model.config.walkback:
                x = observation.draw_flat(parameters.detach(), noise_k)
        return Losses(torch.stack(losses).mean(0), metrics={"first": losses[0].detach()})


@families.register("denoising-autoencoder")
class DenoisingConfig(FamilyConfig):
    """Denoising autoencoder.

    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Binary, Vector
    >>> coder = {"kind": "mlp", "hidden": (16,)}
    >>> model = DenoisingConfig(latent=4, coder=coder, steps=3).build(Vector(dim=5, support=Binary()))
    >>> noise = KeyedNoise(0, torch.arange(4))
    >>> x = model.sample(4, noise=noise)
    >>> x.shape, model.log_bound(x, noise=noise).shape
    (torch.Size([4, 5]), torch.Size([4]))
    """

    summary: ClassVar[str] = "learns to undo a corruption, and samples by a Markov chain that corrupts and denoises"
    reference: ClassVar[str] = "Vincent et al., ICML 2008; Bengio et al., arXiv:1305.6663"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "sequence", "product")
    supports: ClassVar[tuple[str, ...]] = ("real", "binary", "levels", "interval")
    model: ClassVar[type[nn.Module]] = DenoisingAutoencoder

    kind: Literal["denoising-autoencoder"] = "denoising-autoencoder"
    latent: int = Field(default=64, ge=1, description="length of a code")
    coder: AnyCoder = MLPCoderConfig()
    likelihood: AnyLikelihood | None = None
    corruption: Corruption | None = Field(
        default=None, description="corruption; by default Gaussian noise on real samples and intervals, else redraw"
    )
    walkback: int = Field(
        default=1, ge=1, description="steps of the chain that training denoises; one is the plain criterion"
    )
    steps: int = Field(default=50, ge=1, description="steps of the chain to a sample")

    def build(self, space: Space, condition: Space | None = None) -> DenoisingAutoencoder:
        observation = ObservationModel.of(space, condition, self.likelihood)
        corruption = corruption_of(observation.layout.support, self.corruption)
        coder: CoderConfig = self.coder
        likelihood, context_features = observation.likelihood, observation.layout.context_features
        encoder = coder.encoder(space, likelihood.embed_dim, context_features, self.latent)
        decoder = coder.decoder(space, self.latent, context_features, likelihood.parameters)
        return DenoisingAutoencoder(self, observation, corruption, encoder, decoder)

    @classmethod
    def example(cls) -> DenoisingConfig:
        return cls(latent=4, coder=MLPCoderConfig(hidden=(16,)), walkback=2, steps=3)
