"""Hierarchical variational autoencoder: groups of latent numbers, each given those before it, from coarse to fine.

What ladder VAE (Sønderby et al., arXiv:1602.02282), BIVA (Maaløe et al., arXiv:1902.02102) and NVAE (Vahdat & Kautz,
arXiv:2007.03898) share: a deterministic pass from the sample up to ever coarser features, then a pass down in which
prior and posterior use the same features of what was drawn so far. The posterior of a group says how far it is from
its prior (NVAE, 3.2), so it has nothing to learn where the data have nothing to say, and the singular values of all
layers may be held small (NVAE, 3.2). On fields layers are convolutions, on anything else they are linear.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field as Described
from torch import Tensor, nn

from ...capabilities import ELBO
from ...config import Config
from ...data import Batch
from ...errors import ConfigError, SpaceError
from ...likelihoods import AnyLikelihood
from ...nets.conv import Convolution, Residual, Stride, normalized, zero_start
from ...nets.hourglass import Hourglass
from ...nets.spectral import SpectralPenalty
from ...noise import Noise, require_batch_size
from ...objective import Player, Stage
from ...spaces import Field, Space, Tree
from .. import FamilyConfig, families
from .elbo import ELBOConfig, ELBOObjective
from .gaussian import DiagonalNormal
from .observation import ObservationModel


@dataclass(frozen=True)
class Descent:
    """One pass down.

    Attributes:
        parameters: of the numbers' laws, (B, D, P).
        codes: what was drawn, all groups in one row (B, L), the coarsest first.
        divergence: KL of each group at what was drawn before it, (B, groups); zero without posterior.
        log_ratio: log p(z) - log q(z) of all that was drawn, (B,).
        roughness: sum of the layers' largest singular values, (); zero unless asked for.
    """

    parameters: Tensor
    codes: Tensor
    kl: Tensor
    log_ratio: Tensor
    roughness: Tensor


class Group(nn.Module):
    """Latent channels at one place of the way down, and what they add to its features."""

    def __init__(self, field: Field, channels: int, latent: int, context_features: int) -> None:
        super().__init__()
        self.prior = zero_start(Convolution(field, channels, 2 * latent))  # at first, standard normal
        self.posterior = zero_start(Convolution(field, 2 * channels, 2 * latent))  # at first, the prior
        self.enter = Convolution(field, latent, channels)
        self.block = Residual(field, channels, context_features)

    def laws(self, features: Tensor, seen: Tensor | None) -> tuple[DiagonalNormal, DiagonalNormal]:
        """Prior, and posterior given the features (B, channels, *grid) of the sample; the prior twice without."""
        prior = DiagonalNormal.of(self.prior(normalized(features)))
        if seen is None:
            return prior, prior
        both = torch.cat((normalized(features), normalized(seen)), dim=1)
        return prior, prior.moved(DiagonalNormal.of(self.posterior(both)))

    def forward(self, features: Tensor, z: Tensor, context: Tensor | None) -> Tensor:
        """Features (B, channels, *grid) after z (B, latent, *grid) was drawn."""
        return self.block(features + self.enter(z), context)


class Ladder(nn.Module):
    """The network: the way up, and the way down with its groups."""

    def __init__(
        self, space: Space, config: HierarchicalVAEConfig, embed_dim: int, context_features: int, parameters: int
    ) -> None:
        super().__init__()
        channels = config.channels
        self.ways = Hourglass(
            space,
            [level.stride for level in config.levels],
            where="levels.stride",
            embed_dim=embed_dim,
            parameters=parameters,
            channels=channels,
            depth=config.depth,
            context_features=context_features,
        )
        downwards = list(zip(self.ways.fields, config.levels[::-1], strict=True))
        self.groups = nn.ModuleList(
            nn.ModuleList(Group(field, channels, level.latent, context_features) for _ in range(level.groups))
            for field, level in downwards
        )
        self.blocks = nn.ModuleList(
            nn.ModuleList(Residual(field, channels, context_features) for _ in range(config.depth))
            for field, _ in downwards
        )
        self.shapes = [(level.latent, *field.grid) for field, level in downwards for _ in range(level.groups)]
        self.penalty = SpectralPenalty(self) if config.spectral else None

    @property
    def latent(self) -> int:
        """Latent numbers of all groups together, L."""
        return sum(math.prod(shape) for shape in self.shapes)

    def _cut(self, row: Tensor) -> list[Tensor]:
        """A row (B, L) into groups, each (B, latent, *grid)."""
        pieces = row.split([math.prod(shape) for shape in self.shapes], dim=1)
        return [piece.unflatten(1, shape) for piece, shape in zip(pieces, self.shapes, strict=True)]

    def forward(
        self,
        inputs: Tensor | None,
        context: Tensor | None,
        units: Tensor,
        codes: Tensor | None = None,
        *,
        penalised: bool = False,
    ) -> Descent:
        """Go down, after going up if there is a sample.

        Args:
            inputs: the sample as networks see it, (B, D, K), for draws from the posterior; None for the prior.
            columns: condition (B, C).
            units: standard normal numbers (B, L), that are moved to where the latent ones are drawn.
            codes: if given, (B, L), what is taken as drawn instead.
            penalised: whether to find the roughness, if it has a price.
        """
        seen = None if inputs is None else self.ways.up(inputs, context)
        features = self.ways.begin(units.shape[0])
        sources = iter(self._cut(units if codes is None else codes))
        drawn: list[Tensor] = []
        divergences: list[Tensor] = []
        log_ratio = torch.zeros_like(units[:, 0])
        for depth, (groups, blocks, refine) in enumerate(zip(self.groups, self.blocks, self.ways.finer, strict=True)):
            for group in groups:  # type: ignore[attr-defined]
                prior, posterior = group.laws(features, None if seen is None else seen[depth])
                z = posterior.at(next(sources)) if codes is None else next(sources)
                drawn.append(z.flatten(1))
                divergences.append(posterior.kl(prior).flatten(1).sum(1))
                log_ratio = log_ratio + (prior.log_prob(z) - posterior.log_prob(z)).flatten(1).sum(1)
                features = group(features, z, context)
            for block in blocks:  # type: ignore[attr-defined]
                features = block(features, context)
            features = refine(features)
        parameters = self.ways.end(features)
        roughness = self.penalty() if penalised and self.penalty is not None else log_ratio.new_zeros(())
        return Descent(parameters, torch.cat(drawn, dim=1), torch.stack(divergences, dim=1), log_ratio, roughness)


class HierarchicalVAE(nn.Module):
    """p(x | c) = E_z p(x | z, c) with p(z | c) = prod_g p(z_g | z_<g, c); q(z | x, c) = prod_g q(z_g | z_<g, x, c)."""

    direction: Literal["lower"] = "lower"

    def __init__(self, config: HierarchicalVAEConfig, observed: ObservationModel, ladder: Ladder) -> None:
        super().__init__()
        self.config, self.observed, self.ladder = config, observed, ladder

    def _units(self, name: str, noise: Noise) -> Tensor:
        return noise.normal(name, (self.ladder.latent,))

    def infer(self, x: Tree, condition: Tree | None, units: Tensor, *, penalised: bool = False) -> Descent:
        """A pass down along the posterior of x."""
        inputs = self.observed.inputs(x, self)
        return self.ladder(inputs, self.observed.context(condition, inputs), units, penalised=penalised)

    def terms(self, x: Tree, condition: Tree | None, noise: Noise) -> tuple[ELBO, Tensor]:
        """Terms of the bound, and the roughness ()."""
        found = self.infer(x, condition, self._units("posterior", noise), penalised=True)
        layers = {f"divergence/{g}": terms[:, None] for g, terms in enumerate(found.kl.unbind(1))}
        return ELBO(self.observed.log_prob(found.parameters, x), layers), found.roughness

    def elbo(self, x: Tree, condition: Tree | None = None, *, noise: Noise) -> ELBO:
        """Terms of the bound, the coarsest group first; reads the noise "posterior" (L,)."""
        return self.terms(x, condition, noise)[0]

    def log_bound(self, x: Tree, condition: Tree | None = None, *, noise: Noise) -> Tensor:
        """log p(x, z | c) - log q(z | x, c) at one draw, (B,), nats: an importance weight; reads "posterior" (L,)."""
        found = self.infer(x, condition, self._units("posterior", noise))
        return self.observed.log_prob(found.parameters, x) + found.log_ratio

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Draw n samples; reads the noise "prior" (L,) and "numbers" (D, U)."""
        require_batch_size(noise, n)
        units = self._units("prior", noise)
        found = self.ladder(None, self.observed.context(condition, units), units)
        return self.observed.draw(found.parameters, noise)

    def encode(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """The mean of each group's posterior given the means before it, all in one row (B, L), coarsest first."""
        like = self.observed.inputs(x, self)
        return self.infer(x, condition, like.new_zeros(len(like), self.ladder.latent)).codes

    def decode(self, z: Tensor, condition: Tree | None = None) -> Tree:
        """The mean of the samples whose latent numbers are z (B, L); raises `SpaceError`."""
        if z.ndim != 2 or z.shape[1] != self.ladder.latent:
            raise SpaceError(f"z: expected shape (B, {self.ladder.latent}), found {tuple(z.shape)}.")
        return self.observed.mean(self.ladder(None, self.observed.context(condition, z), z, z).parameters)

    def stages(self) -> list[Stage]:
        return [Stage("fit", (Player("model", HierarchicalObjective(self), (self.ladder,)),))]


class HierarchicalObjective(ELBOObjective):
    """The weighted bound, and the price of roughness."""

    model: HierarchicalVAE

    def __init__(self, model: HierarchicalVAE) -> None:
        super().__init__(model, model.config.loss, len(model.ladder.shapes), model.observed.layout.features)

    def elbo(self, batch: Batch, noise: Noise) -> tuple[ELBO, Tensor | float]:
        evidence, roughness = self.model.terms(batch.x, batch.condition, noise)
        return evidence, self.model.config.spectral * roughness


class Level(Config):
    """One grid, and the groups of latent numbers on it."""

    stride: Stride = Described(default=2, description="how much coarser its grid is than that of the level before")
    groups: int = Described(
        default=1, ge=0, description="groups, each drawn given those before it; none for a step in resolution alone"
    )
    latent: int = Described(default=8, ge=1, description="latent channels of a group")


@families.register("hierarchical-vae")
class HierarchicalVAEConfig(FamilyConfig):
    """Hierarchical variational autoencoder."""

    summary: ClassVar[str] = "groups of latent numbers from coarse to fine, prior and posterior on one way down"
    reference: ClassVar[str] = "ladder VAE, arXiv:1602.02282; BIVA, arXiv:1902.02102; NVAE, arXiv:2007.03898"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "sequence", "product")
    supports: ClassVar[tuple[str, ...]] = ("real", "binary", "levels", "interval")
    model: ClassVar[type[nn.Module]] = HierarchicalVAE

    kind: Literal["hierarchical-vae"] = "hierarchical-vae"
    levels: tuple[Level, ...] = Described(
        default=(Level(), Level()), min_length=1, description="from the finest to the coarsest"
    )
    channels: int = Described(default=64, ge=1, description="channels of all features")
    depth: int = Described(default=1, ge=1, description="residual blocks at each level, on the way up and down")
    likelihood: AnyLikelihood | None = None
    loss: ELBOConfig = ELBOConfig()
    spectral: float = Described(default=0.0, ge=0, description="price of the layers' largest singular values, nats")

    def build(self, space: Space, condition: Space | None = None) -> HierarchicalVAE:
        if not any(level.groups for level in self.levels):
            raise ConfigError("hierarchical-vae.levels: no level has groups of latent numbers; give one at least 1.")
        observed = ObservationModel.of(space, condition, self.likelihood)
        law, context_features = observed.law, observed.layout.context_features
        return HierarchicalVAE(self, observed, Ladder(space, self, law.embed_dim, context_features, law.parameters))

    @classmethod
    def example(cls) -> HierarchicalVAEConfig:
        return cls(levels=(Level(stride=1, groups=2, latent=1), Level(stride=2, latent=1)), channels=6, spectral=0.01)
