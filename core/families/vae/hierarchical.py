"""Hierarchical variational autoencoder: groups of latent variables from coarse to fine, each given those before it.

A deterministic bottom-up pass computes ever coarser features of the sample. The top-down pass draws the groups; prior
and posterior use the same features of the groups drawn so far (ladder VAE, Sønderby et al., arXiv:1602.02282). This is
nearest to the very deep VAE (VDVAE, Child, arXiv:2011.10650): one top-down path of residual blocks, without BIVA's
(arXiv:1902.02102) stochastic bottom-up path. From NVAE (Vahdat & Kautz, arXiv:2007.03898, section 3.2) are the residual
parametrisation of the posterior relative to its prior, so that a group without information costs nothing, and the
spectral regularisation. On fields layers are convolutions, on other spaces they are linear.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from pydantic import Field as Described
from torch import Tensor, nn

from ...capabilities import ELBO
from ...config import Config
from ...data import Batch
from ...errors import ConfigError, SpaceError
from ...likelihoods import AnyLikelihood
from ...nets.conv import Convolution, ResidualBlock, ResidualBlocks, Stride, normalized
from ...nets.hourglass import Hourglass
from ...nets.init import zero_init
from ...nets.spectral import SpectralPenalty
from ...noise import Noise, require_batch_size
from ...objective import Player, Stage
from ...spaces import Field, Space, Tree
from .. import FamilyConfig, families
from .elbo import ELBOConfig, ELBOObjective
from .gaussian import DiagonalNormal
from .observation import ObservationModel


@dataclass(frozen=True)
class TopDownPass:
    """Results of one top-down pass.

    Attributes:
        parameters: of the likelihood, (B, D, P).
        z: latent variables of all groups, flattened (B, L), the coarsest group first.
        kl: of each group's posterior from its prior, (B, groups), nats; zero for draws from the prior.
        log_ratio: log p(z) - log q(z) of all groups, (B,).
        spectral_sum: sum of the layers' largest singular values, (); zero unless asked for.
    """

    parameters: Tensor
    z: Tensor
    kl: Tensor
    log_ratio: Tensor
    spectral_sum: Tensor


class _TopDownBlock(nn.Module):
    """One group of latent variables: its prior, its posterior, and its effect on the features of the top-down path."""

    def __init__(self, field: Field, channels: int, latent: int, context_features: int) -> None:
        super().__init__()
        self.prior = zero_init(Convolution(field, channels, 2 * latent))  # at first, standard normal
        self.posterior = zero_init(Convolution(field, 2 * channels, 2 * latent))  # at first, the prior
        self.input = Convolution(field, latent, channels)
        self.block = ResidualBlock(field, channels, context_features)

    def distributions(self, features: Tensor, bottom_up: Tensor | None) -> tuple[DiagonalNormal, DiagonalNormal]:
        """Prior and posterior of z (B, latent, *grid).

        Args:
            features: of the top-down path, (B, channels, *grid).
            bottom_up: features of the sample, the same shape; without them the prior is returned twice.
        """
        prior = DiagonalNormal.from_parameters(self.prior(normalized(features)))
        if bottom_up is None:
            return prior, prior
        both = torch.cat((normalized(features), normalized(bottom_up)), dim=1)
        return prior, prior.shifted(DiagonalNormal.from_parameters(self.posterior(both)))

    def forward(self, features: Tensor, z: Tensor, context: Tensor | None) -> Tensor:
        """Features (B, channels, *grid) after z (B, latent, *grid) was drawn."""
        return self.block(features + self.input(z), context)


class HierarchicalNetwork(nn.Module):
    """Encoder (bottom-up) and decoder (top-down, with the groups of latent variables) on an `Hourglass`.

    >>> config = HierarchicalVAEConfig(levels=(Level(latent=1), Level(latent=2)), channels=4)
    >>> network = HierarchicalNetwork(Field(channels=1, grid=(4, 4)), config, 1, 0, parameters=3)
    >>> network.latent, network.shapes  # the coarsest group first
    (6, [(2, 1, 1), (1, 2, 2)])
    >>> found: TopDownPass = network(torch.zeros(5, 16, 1), None, eps=torch.zeros(5, 6))
    >>> found.parameters.shape, found.kl.shape
    (torch.Size([5, 16, 3]), torch.Size([5, 2]))
    """

    def __init__(
        self, space: Space, config: HierarchicalVAEConfig, embed_dim: int, context_features: int, parameters: int
    ) -> None:
        super().__init__()
        channels = config.channels
        self.hourglass = Hourglass(
            space,
            [level.stride for level in config.levels],
            where="levels.stride",
            embed_dim=embed_dim,
            parameters=parameters,
            channels=channels,
            depth=config.depth,
            context_features=context_features,
        )
        top_down = list(zip(self.hourglass.fields, config.levels[::-1], strict=True))
        self.groups = nn.ModuleList(
            nn.ModuleList(_TopDownBlock(field, channels, level.latent, context_features) for _ in range(level.groups))
            for field, level in top_down
        )
        self.blocks = nn.ModuleList(
            ResidualBlocks(field, channels, config.depth, context_features) for field, _ in top_down
        )
        self.shapes = [(level.latent, *field.grid) for field, level in top_down for _ in range(level.groups)]
        self.spectral = SpectralPenalty(self) if config.spectral else None

    def extra_repr(self) -> str:
        return f"groups={self.shapes}"

    @property
    def latent(self) -> int:
        """Latent variables of all groups together, L."""
        return sum(math.prod(shape) for shape in self.shapes)

    def _split(self, flat: Tensor) -> Iterator[Tensor]:
        """Flat (B, L) into groups, each (B, latent, *grid)."""
        pieces = flat.split([math.prod(shape) for shape in self.shapes], dim=1)
        return (piece.unflatten(1, shape) for piece, shape in zip(pieces, self.shapes, strict=True))

    def forward(
        self,
        inputs: Tensor | None,
        context: Tensor | None,
        eps: Tensor,
        z: Tensor | None = None,
        *,
        with_spectral: bool = False,
    ) -> TopDownPass:
        """The top-down pass, after the bottom-up pass if there is a sample.

        Args:
            inputs: the sample as an encoder takes it, (B, D, K), for draws from the posterior; None for the prior.
            context: (B, C).
            eps: standard normal noise (B, L), which draws are reparametrised from.
            z: if given, (B, L), taken instead of a draw.
            with_spectral: whether to compute the sum of singular values, if the config penalises it.
        """
        bottom_up = None if inputs is None else self.hourglass.bottom_up(inputs, context)
        features = self.hourglass.start(eps.shape[0])
        sources = self._split(eps if z is None else z)
        drawn: list[Tensor] = []
        kl: list[Tensor] = []
        log_ratio = torch.zeros_like(eps[:, 0])
        for level, (groups, blocks, up) in enumerate(zip(self.groups, self.blocks, self.hourglass.up, strict=True)):
            for group in cast("Iterator[_TopDownBlock]", groups):
                prior, posterior = group.distributions(features, None if bottom_up is None else bottom_up[level])
                value = posterior.reparametrise(next(sources)) if z is None else next(sources)
                drawn.append(value.flatten(1))
                kl.append(posterior.kl(prior).flatten(1).sum(1))
                log_ratio = log_ratio + (prior.log_prob(value) - posterior.log_prob(value)).flatten(1).sum(1)
                features = group(features, value, context)
            features = up(blocks(features, context))
        parameters = self.hourglass.output(features)
        spectral_sum = self.spectral() if with_spectral and self.spectral is not None else log_ratio.new_zeros(())
        return TopDownPass(parameters, torch.cat(drawn, dim=1), torch.stack(kl, dim=1), log_ratio, spectral_sum)


class HierarchicalVAE(nn.Module):
    """p(x | c) = E_z p(x | z, c) with p(z | c) = prod_g p(z_g | z_<g, c); q(z | x, c) = prod_g q(z_g | z_<g, x, c).

    Args:
        config: what it was built from.
        observation: embeds samples for the encoder, scores and draws them given the decoder's output.
        network: encoder and decoder.

    >>> from maquette.core.noise import KeyedNoise
    >>> config = HierarchicalVAEConfig(levels=(Level(latent=1), Level(latent=2)), channels=4)
    >>> model: HierarchicalVAE = config.build(Field(channels=1, grid=(4, 4)))
    >>> elbo = model.elbo(torch.zeros(3, 1, 4, 4), noise=KeyedNoise(0, torch.arange(3)))
    >>> list(elbo.kl), elbo.bound.shape
    (['kl/0', 'kl/1'], torch.Size([3]))
    """

    direction: Literal["lower"] = "lower"

    def __init__(
        self, config: HierarchicalVAEConfig, observation: ObservationModel, network: HierarchicalNetwork
    ) -> None:
        super().__init__()
        self.config, self.observation, self.network = config, observation, network

    def extra_repr(self) -> str:
        return f"latent={self.network.latent}, likelihood={self.observation.likelihood}"

    def _eps(self, name: str, noise: Noise) -> Tensor:
        return noise.normal(name, (self.network.latent,))

    def infer(self, x: Tree, condition: Tree | None, eps: Tensor, *, with_spectral: bool = False) -> TopDownPass:
        """A top-down pass along the posterior of x, with noise eps (B, L)."""
        inputs = self.observation.inputs(x, self)
        return self.network(inputs, self.observation.context(condition, inputs), eps, with_spectral=with_spectral)

    def terms(self, x: Tree, condition: Tree | None, noise: Noise) -> tuple[ELBO, Tensor]:
        """Terms of the bound, and the sum of singular values ()."""
        found = self.infer(x, condition, self._eps("posterior", noise), with_spectral=True)
        kl = {f"kl/{group}": terms[:, None] for group, terms in enumerate(found.kl.unbind(1))}
        return ELBO(self.observation.log_prob(found.parameters, x), kl), found.spectral_sum

    def elbo(self, x: Tree, condition: Tree | None = None, *, noise: Noise) -> ELBO:
        """Terms of the bound, the coarsest group first; reads the noise "posterior" (L,)."""
        return self.terms(x, condition, noise)[0]

    def log_bound(self, x: Tree, condition: Tree | None = None, *, noise: Noise) -> Tensor:
        """log p(x, z | c) - log q(z | x, c) at one draw, (B,), nats: an importance weight; reads "posterior" (L,)."""
        found = self.infer(x, condition, self._eps("posterior", noise))
        return self.observation.log_prob(found.parameters, x) + found.log_ratio

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Draw n samples; reads the noise "prior" (L,) and "numbers" (D, U)."""
        require_batch_size(noise, n)
        eps = self._eps("prior", noise)
        found = self.network(None, self.observation.context(condition, eps), eps)
        return self.observation.draw(found.parameters, noise)

    def encode(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """The mean of each group's posterior given the means before it, flattened (B, L), the coarsest group first."""
        like = self.observation.inputs(x, self)
        return self.infer(x, condition, like.new_zeros(len(like), self.network.latent)).z

    def decode(self, z: Tensor, condition: Tree | None = None) -> Tree:
        """The mean of the samples whose latent variables are z (B, L); raises `SpaceError`."""
        if z.ndim != 2 or z.shape[1] != self.network.latent:
            raise SpaceError(f"z: expected shape (B, {self.network.latent}), found {tuple(z.shape)}.")
        return self.observation.mean(self.network(None, self.observation.context(condition, z), z, z).parameters)

    def stages(self) -> list[Stage]:
        return [Stage("fit", (Player("model", HierarchicalObjective(self), (self.network,)),))]


class HierarchicalObjective(ELBOObjective):
    """The weighted bound plus the spectral penalty.

    >>> model = HierarchicalVAEConfig(loss=ELBOConfig(free_nats=0.1)).build(Field(channels=1, grid=(8, 8)))
    >>> HierarchicalObjective(model).extra_repr()
    'beta=1.0, warmup=0, free_nats=0.1'
    """

    model: HierarchicalVAE

    def __init__(self, model: HierarchicalVAE) -> None:
        super().__init__(model, model.config.loss, len(model.network.shapes), model.observation.layout.features)

    def elbo(self, batch: Batch, noise: Noise) -> tuple[ELBO, Tensor | float]:
        elbo, spectral_sum = self.model.terms(batch.x, batch.condition, noise)
        return elbo, self.model.config.spectral * spectral_sum


class Level(Config):
    """One grid, and the groups of latent variables on it."""

    stride: Stride = Described(default=2, description="how much coarser its grid is than that of the level before")
    groups: int = Described(
        default=1,
        ge=0,
        description="groups of latent variables, each given those before it; 0 for a change of resolution alone",
    )
    latent: int = Described(default=8, ge=1, description="latent channels of a group")


@families.register("hierarchical-vae")
class HierarchicalVAEConfig(FamilyConfig):
    """Hierarchical variational autoencoder.

    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Field
    >>> model = HierarchicalVAEConfig(levels=(Level(latent=1), Level(latent=2)), channels=4).build(
    ...     Field(channels=1, grid=(4, 4))
    ... )
    >>> noise = KeyedNoise(0, torch.arange(3))
    >>> x = model.sample(3, noise=noise)
    >>> x.shape, model.log_bound(x, noise=noise).shape, model.encode(x).shape
    (torch.Size([3, 1, 4, 4]), torch.Size([3]), torch.Size([3, 6]))
    """

    summary: ClassVar[str] = (
        "groups of latent variables from coarse to fine; prior and posterior share one top-down path"
    )
    reference: ClassVar[str] = "ladder VAE, arXiv:1602.02282; VDVAE, arXiv:2011.10650; NVAE, arXiv:2007.03898"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "sequence", "product")
    supports: ClassVar[tuple[str, ...]] = ("real", "binary", "levels", "interval")
    model: ClassVar[type[nn.Module]] = HierarchicalVAE

    kind: Literal["hierarchical-vae"] = "hierarchical-vae"
    levels: tuple[Level, ...] = Described(
        default=(Level(), Level()), min_length=1, description="from the finest to the coarsest"
    )
    channels: int = Described(default=64, ge=1, description="channels of all features")
    depth: int = Described(default=1, ge=1, description="residual blocks at each level, bottom-up and top-down")
    likelihood: AnyLikelihood | None = None
    loss: ELBOConfig = ELBOConfig()
    spectral: float = Described(
        default=0.0, ge=0, description="weight of the sum of the layers' largest singular values"
    )

    def build(self, space: Space, condition: Space | None = None) -> HierarchicalVAE:
        if not any(level.groups for level in self.levels):
            raise ConfigError("hierarchical-vae.levels: no level has groups of latent variables; give one at least 1.")
        observation = ObservationModel.of(space, condition, self.likelihood)
        likelihood, context_features = observation.likelihood, observation.layout.context_features
        network = HierarchicalNetwork(space, self, likelihood.embed_dim, context_features, likelihood.parameters)
        return HierarchicalVAE(self, observation, network)

    @classmethod
    def example(cls) -> HierarchicalVAEConfig:
        return cls(levels=(Level(stride=1, groups=2, latent=1), Level(stride=2, latent=1)), channels=6, spectral=0.01)
