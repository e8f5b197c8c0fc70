"""Denoising autoencoder: it learns to mend what was spoilt, and draws by spoiling and mending in turn.

Vincent et al., "Extracting and composing robust features with denoising autoencoders", ICML 2008. Bengio et al.,
"Generalized denoising auto-encoders as generative models", arXiv:1305.6663: if P(x | y) mends what C(y | x) spoilt as
Bayes' rule would, the chain that alternates the two has the data's law as its stationary one. What the chain draws in
its last step has a density: the mean of P(x | y) over all y that it may come to. Bengio, Yao & Cho, "Bounding the test
log-likelihood of generative models", arXiv:1311.6184, bound its log by few of these y.
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
    """P(x | y, c) = prod_i p(x_i | decoder(encoder(y, c), c)_i), the corruption C(y | x), and the chain of the two.

    Args:
        config: what it was built from.
        observed: the samples' side.
        corruption: C.
        encoder: inputs (B, D, K) and context (B, C) to codes (B, L).
        decoder: codes (B, L) and context (B, C) to parameters (B, D, P).
    """

    direction: Literal["lower"] = "lower"

    def __init__(
        self,
        config: DenoisingConfig,
        observed: ObservationModel,
        corruption: Corruption,
        encoder: nn.Module,
        decoder: nn.Module,
    ) -> None:
        super().__init__()
        self.config, self.observed, self.corruption = config, observed, corruption
        self.encoder, self.decoder = encoder, decoder

    def spoil(self, rows: Tensor, noise: Noise) -> Tensor:
        """Draw y (B, D) from C(y | x) at rows x (B, D); reads the noise "corruption"."""
        return self.corruption.apply(rows, self.observed.layout.support, noise)

    def mend(self, rows: Tensor, context: Tensor | None) -> Tensor:
        """Parameters (B, D, P) of P(x | y) at rows y (B, D) and context (B, C)."""
        inputs = self.observed.embed(rows, self.encoder)
        return self.decoder(self.encoder(inputs, context), context)

    def kernel(self, context: Tensor | None) -> Kernel:
        """One step of the chain, from rows to rows."""

        def step(rows: Tensor, noise: Noise) -> Tensor:
            return self.observed.draw_rows(self.mend(self.spoil(rows, noise), context), noise)

        return step

    def walk(self, n: int, condition: Tree | None, noise: Noise) -> Tensor:
        """Parameters (n, D, P) of the laws P(x | y) that the last steps of n chains draw from.

        A chain has `config.steps` steps, of which step k reads "corruption" and "numbers" under "step/k". It starts at
        numbers of the law with all parameters zero, drawn with the noise "numbers" (D, U) itself.
        """
        observed, last = self.observed, self.config.steps - 1
        like = next(self.parameters()).new_zeros(n, observed.layout.features, observed.law.parameters)
        context = observed.context(condition, like)
        rows = markov_chain(self.kernel(context), observed.draw_rows(like, noise), last, noise)
        return self.mend(self.spoil(rows, noise.fold(f"step/{last}")), context)

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Run n chains, which read the noise that `walk` says, and "numbers" under the last "step/k"."""
        require_batch_size(noise, n)
        return self.observed.draw(self.walk(n, condition, noise), noise.fold(f"step/{self.config.steps - 1}"))

    def log_bound(self, x: Tree, condition: Tree | None = None, *, noise: Noise) -> Tensor:
        """log P(x | y, c), (B,), nats, at the last y of a chain that `walk` says.

        The mean of P(x | y, c) is the density of what chains draw. They know nothing of x, and few come near it: one is
        far below the log-density, and where samples have many numbers `inference.importance` needs many.
        """
        rows = self.observed.layout.flatten(x)
        return self.observed.log_prob_rows(self.walk(len(rows), condition, noise), rows)

    def encode(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """The code of x as it is, (B, L)."""
        inputs = self.observed.inputs(x, self.encoder)
        return self.encoder(inputs, self.observed.context(condition, inputs))

    def decode(self, z: Tensor, condition: Tree | None = None) -> Tree:
        """The mean of the samples whose code is z (B, L)."""
        return self.observed.mean(self.decoder(z, self.observed.context(condition, z)))

    def stages(self) -> list[Stage]:
        return [Stage("fit", (Player("model", DenoisingObjective(self), (self.encoder, self.decoder)),))]


class DenoisingObjective(Objective):
    """-log P(x | y) per number, nats, for y spoilt from x, and with walkback for every y that the chain from x meets.

    Walkback (arXiv:1305.6663, section 4): a chain that has begun to wander off is called back to where it started,
    which removes modes that training would never have visited.
    """

    def __init__(self, model: DenoisingAutoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        model, observed = self.model, self.model.observed
        target = rows = observed.layout.flatten(batch.x)
        context = observed.context(batch.condition, observed.embed(target, model.encoder))
        losses = []
        for k in range(model.config.walkback):
            here = noise.fold(f"step/{k}")
            parameters = model.mend(model.spoil(rows, here), context)
            losses.append(-observed.log_prob_rows(parameters, target) / observed.layout.features)
            if k + 1 < model.config.walkback:
                rows = observed.draw_rows(parameters.detach(), here)
        return Losses(torch.stack(losses).mean(0), metrics={"first": losses[0].detach()})


@families.register("denoising-autoencoder")
class DenoisingConfig(FamilyConfig):
    """Denoising autoencoder."""

    summary: ClassVar[str] = "learns to mend spoilt samples, and draws by spoiling and mending in turn"
    reference: ClassVar[str] = "Vincent et al., ICML 2008; Bengio et al., arXiv:1305.6663"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "sequence", "product")
    supports: ClassVar[tuple[str, ...]] = ("real", "binary", "levels", "interval")
    model: ClassVar[type[nn.Module]] = DenoisingAutoencoder

    kind: Literal["denoising-autoencoder"] = "denoising-autoencoder"
    latent: int = Field(default=64, ge=1, description="numbers in a code")
    coder: AnyCoder = MLPCoderConfig()
    likelihood: AnyLikelihood | None = None
    corruption: Corruption | None = Field(
        default=None, description="how samples are spoilt; by default real numbers by Gaussian noise, others redrawn"
    )
    walkback: int = Field(
        default=1, ge=1, description="steps of the chain that training mends; one is the plain criterion"
    )
    steps: int = Field(default=50, ge=1, description="steps of the chain to a sample")

    def build(self, space: Space, condition: Space | None = None) -> DenoisingAutoencoder:
        observed = ObservationModel.of(space, condition, self.likelihood)
        corruption = corruption_of(observed.layout.support, self.corruption)
        coder: CoderConfig = self.coder
        law, context_features = observed.law, observed.layout.context_features
        encoder = coder.encoder(space, law.embed_dim, context_features, self.latent)
        decoder = coder.decoder(space, self.latent, context_features, law.parameters)
        return DenoisingAutoencoder(self, observed, corruption, encoder, decoder)

    @classmethod
    def example(cls) -> DenoisingConfig:
        return cls(latent=4, coder=MLPCoderConfig(hidden=(16,)), walkback=2, steps=3)
