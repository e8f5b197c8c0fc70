"""Variational autoencoder: a decoder of Gaussian codes, and an encoder that approximates their posterior.

Kingma & Welling, arXiv:1312.6114; Rezende, Mohamed & Wierstra, arXiv:1401.4082; with a condition, Sohn, Lee & Yan,
NIPS 2015. The prior of the code is standard normal, its posterior normal with diagonal covariance. The decoder returns
the parameters of a likelihood (Bernoulli, Gaussian, categorical, ...) for each feature of a sample.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from ...capabilities import ELBO
from ...likelihoods import AnyLikelihood
from ...nets.encoder_decoder import AnyCoder, CoderConfig, MLPCoderConfig
from ...noise import Noise, require_batch_size
from ...objective import Player, Stage
from ...spaces import Space, Tree
from .. import FamilyConfig, families
from .elbo import ELBOConfig, ELBOObjective
from .gaussian import DiagonalNormal
from .observation import ObservationModel


class VAE(nn.Module):
    """p(x | c) = E_{z ~ N(0, 1)} p(x | decoder(z, c)), with the posterior q(z | x, c) = N(z; encoder(x, c)).

    Args:
        config: what it was built from.
        observation: embeds samples for the encoder, scores and draws them given the decoder's output.
        encoder: inputs (B, D, K) and context (B, C) to means and log scales (B, 2L).
        decoder: codes (B, L) and context (B, C) to parameters (B, D, P).

    >>> import torch
    >>> from maquette.core.spaces import Vector
    >>> model: VAE = VAEConfig(latent=2).build(Vector(dim=3))
    >>> x = torch.zeros(4, 3)
    >>> model.posterior(x).mean.shape, model.decode(model.encode(x)).shape
    (torch.Size([4, 2]), torch.Size([4, 3]))
    """

    direction: Literal["lower"] = "lower"

    def __init__(
        self, config: VAEConfig, observation: ObservationModel, encoder: nn.Module, decoder: nn.Module
    ) -> None:
        super().__init__()
        self.config, self.observation, self.encoder, self.decoder = config, observation, encoder, decoder

    def extra_repr(self) -> str:
        return f"latent={self.config.latent}, likelihood={self.observation.likelihood}"

    def posterior(self, x: Tree, condition: Tree | None = None) -> DiagonalNormal:
        """The posterior q(z | x, c) of the code, (B, L)."""
        inputs = self.observation.inputs(x, self.encoder)
        return DiagonalNormal.from_parameters(self.encoder(inputs, self.observation.context(condition, inputs)))

    def generate(self, z: Tensor, condition: Tree | None = None) -> Tensor:
        """Likelihood parameters (B, D, P) of the samples with codes z (B, L)."""
        return self.decoder(z, self.observation.context(condition, z))

    def _draw(self, posterior: DiagonalNormal, noise: Noise) -> Tensor:
        return posterior.reparametrise(noise.normal("posterior", (self.config.latent,)))

    def elbo(self, x: Tree, condition: Tree | None = None, *, noise: Noise) -> ELBO:
        """Terms of the bound; the KL divergence is exact, (B, L); reads the noise "posterior" (L,)."""
        posterior = self.posterior(x, condition)
        z = self._draw(posterior, noise)
        reconstruction = self.observation.log_prob(self.generate(z, condition), x)
        return ELBO(reconstruction, {"kl": posterior.kl(DiagonalNormal.standard(z))})

    def log_bound(self, x: Tree, condition: Tree | None = None, *, noise: Noise) -> Tensor:
        """log p(x, z | c) - log q(z | x, c) at one draw, (B,), nats: an importance weight; reads "posterior" (L,)."""
        posterior = self.posterior(x, condition)
        z = self._draw(posterior, noise)
        ratio = DiagonalNormal.standard(z).log_prob(z) - posterior.log_prob(z)
        return self.observation.log_prob(self.generate(z, condition), x) + ratio.sum(1)

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Draw n samples; reads the noise "prior" (L,) and "numbers" (D, U)."""
        require_batch_size(noise, n)
        return self.observation.draw(self.generate(noise.normal("prior", (self.config.latent,)), condition), noise)

    def encode(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """The mean of the code's posterior, (B, L)."""
        return self.posterior(x, condition).mean

    def decode(self, z: Tensor, condition: Tree | None = None) -> Tree:
        """The mean of the samples whose code is z (B, L)."""
        return self.observation.mean(self.generate(z, condition))

    def stages(self) -> list[Stage]:
        objective = ELBOObjective(self, self.config.loss, self.config.latent, self.observation.layout.features)
        return [Stage("fit", (Player("model", objective, (self.encoder, self.decoder)),))]


@families.register("vae")
class VAEConfig(FamilyConfig):
    """Variational autoencoder; with `loss.beta` above one the beta-VAE.

    >>> import torch
    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> model = VAEConfig(latent=2, coder={"kind": "mlp", "hidden": (16,)}).build(Vector(dim=3))
    >>> noise = KeyedNoise(0, torch.arange(4))
    >>> x = model.sample(4, noise=noise)
    >>> x.shape, model.log_bound(x, noise=noise).shape, model.encode(x).shape
    (torch.Size([4, 3]), torch.Size([4]), torch.Size([4, 2]))
    """

    summary: ClassVar[str] = "Gaussian codes, a decoder and an encoder that infers them"
    reference: ClassVar[str] = "Kingma & Welling, arXiv:1312.6114; Higgins et al., ICLR 2017"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "sequence", "product")
    supports: ClassVar[tuple[str, ...]] = ("real", "binary", "levels", "interval")
    model: ClassVar[type[nn.Module]] = VAE

    kind: Literal["vae"] = "vae"
    latent: int = Field(default=32, ge=1, description="latent variables, the length of a code")
    coder: AnyCoder = MLPCoderConfig()
    likelihood: AnyLikelihood | None = None
    loss: ELBOConfig = ELBOConfig()

    def build(self, space: Space, condition: Space | None = None) -> VAE:
        observation = ObservationModel.of(space, condition, self.likelihood)
        coder: CoderConfig = self.coder
        likelihood, context_features = observation.likelihood, observation.layout.context_features
        encoder = coder.encoder(space, likelihood.embed_dim, context_features, 2 * self.latent)
        decoder = coder.decoder(space, self.latent, context_features, likelihood.parameters)
        return VAE(self, observation, encoder, decoder)

    @classmethod
    def example(cls) -> VAEConfig:
        return cls(latent=2, coder=MLPCoderConfig(hidden=(16,)))
