"""VQ-VAE: an autoencoder with discrete codes, and a prior of these codes. Codes are codebook indices.

Van den Oord, Vinyals & Kavukcuoglu, arXiv:1711.00937, with one level of codes. With two levels it is after Razavi, van
den Oord & Vinyals, "VQ-VAE-2", arXiv:1906.00446: the coarser codes are found first, and the finer ones given them. One
difference: the prior of the finer codes gets the coarser ones as a flat context vector, not as a map on the grid.

The first stage fits the autoencoder, each of the following a prior of the codes of one level given those of the coarser
levels. A prior may be any family with samples and a density on integer levels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Literal, cast

import torch
from pydantic import Field as Described
from torch import Tensor, nn

from ...capabilities import Quantised, capabilities
from ...config import kind_of
from ...data import Batch
from ...errors import ConfigError, SpaceError
from ...likelihoods import AnyLikelihood, at_least_float32
from ...nets.conv import Convolution, ResidualBlocks, Stride, normalized
from ...nets.hourglass import Hourglass
from ...noise import Noise, require_batch_size
from ...objective import Losses, Objective, Player, Stage, transform_batches
from ...spaces import (
    Field,
    Levels,
    Real,
    Simple,
    Space,
    Support,
    Tree,
    Vector,
    as_parts,
    from_named,
    from_parts,
    named,
    size,
)
from .. import AnyFamily, FamilyConfig, families
from ..autoregressive.fvsbn import FVSBNConfig
from ..autoregressive.transformer import TransformerConfig
from .codebook import Codebook
from .observation import ObservationModel


def straight_through(z: Tensor, entries: Tensor) -> Tensor:
    """The value of `entries` with the gradient of `z`: gradients pass the quantisation unchanged.

    >>> z = torch.tensor([0.3], requires_grad=True)
    >>> (3 * straight_through(z, torch.tensor([1.0]))).sum().backward()
    >>> z.grad
    tensor([3.])
    """
    return z + (entries - z).detach()


class _CodeLevel(nn.Module):
    """Codes on one grid: the vectors to quantise, the codebook, and the effect on the features of the top-down path."""

    def __init__(self, field: Field, config: VQVAEConfig, context_features: int) -> None:
        super().__init__()
        width = config.codes_per_cell * config.embedding_dim
        self.codes_per_cell = config.codes_per_cell
        self.output = Convolution(field, 2 * config.channels, width)
        self.codebook = Codebook(
            config.codebook_size, config.embedding_dim, decay=config.decay, dead_threshold=config.dead_threshold
        )
        self.input = Convolution(field, width, config.channels)
        self.blocks = ResidualBlocks(field, config.channels, config.depth, context_features)

    def vectors(self, bottom_up: Tensor, features: Tensor) -> Tensor:
        """Features bottom-up and top-down, each (B, channels, *grid), to vectors (B, codes_per_cell, *grid, d)."""
        z = self.output(torch.cat((normalized(bottom_up), normalized(features)), dim=1))
        return at_least_float32(z).unflatten(1, (self.codes_per_cell, -1)).movedim(2, -1)

    def forward(self, features: Tensor, entries: Tensor, context: Tensor | None) -> Tensor:
        """Features (B, channels, *grid) and codebook entries (B, codes_per_cell, *grid, d) to features."""
        return self.blocks(features + self.input(entries.movedim(-1, 2).flatten(1, 2)), context)


class VQNetwork(nn.Module):
    """Encoder (bottom-up) and decoder (top-down, with the codes of each level) on an `Hourglass`.

    >>> config = VQVAEConfig(strides=(2, 2), codebook_size=8, embedding_dim=2, channels=4)
    >>> network = VQNetwork(Field(channels=1, grid=(8, 8)), config, 1, 0, parameters=3)
    >>> found = network(torch.zeros(5, 64, 1), None)
    >>> [tuple(codes.shape) for codes in found.codes], found.parameters.shape
    ([(5, 1, 2, 2), (5, 1, 4, 4)], torch.Size([5, 64, 3]))
    >>> torch.allclose(network(None, None, found.codes).parameters, found.parameters, atol=1e-6)
    True
    """

    def __init__(
        self, space: Space, config: VQVAEConfig, embed_dim: int, context_features: int, parameters: int
    ) -> None:
        super().__init__()
        self.hourglass = Hourglass(
            space,
            config.strides,
            where="vq-vae.strides",
            embed_dim=embed_dim,
            parameters=parameters,
            channels=config.channels,
            depth=config.depth,
            context_features=context_features,
        )
        fields = self.hourglass.fields
        self.levels = nn.ModuleList(_CodeLevel(field, config, context_features) for field in fields)
        self.shapes = [(config.codes_per_cell, *field.grid) for field in fields]

    def extra_repr(self) -> str:
        return f"codes={self.shapes}"

    def code_levels(self) -> list[_CodeLevel]:
        """`levels` as a typed list, the coarsest first."""
        return cast("list[_CodeLevel]", list(self.levels))

    def forward(
        self, inputs: Tensor | None, context: Tensor | None, codes: Sequence[Tensor] | None = None
    ) -> Quantised:
        """Find the codes of samples (B, D, K), or take given ones, each (B, codes_per_cell, *grid), and decode them."""
        bottom_up = [] if inputs is None else self.hourglass.bottom_up(inputs, context)
        batch_size = codes[0].shape[0] if codes is not None else len(bottom_up[0])
        features = self.hourglass.start(batch_size)
        found: list[Tensor] = []
        vectors: list[Tensor] = []
        distance = features.new_zeros(batch_size)
        for k, (level, up) in enumerate(zip(self.code_levels(), self.hourglass.up, strict=True)):
            if codes is None:
                z = level.vectors(bottom_up[k], features)
                found.append(level.codebook.nearest(z.detach()))
                entries = level.codebook.embed(found[-1])
                vectors.append(z)
                distance = distance + (z - entries).square().flatten(1).sum(1)
                entries = straight_through(z, entries)
            else:
                found.append(codes[k])
                entries = level.codebook.embed(codes[k])
            features = up(level(features, entries, context))
        return Quantised(self.hourglass.output(features), found, vectors, distance)


class VQVAE(nn.Module):
    """p(x | c) = sum_z p(x | z, c) p(z | c), where q(z | x, c) is the one z that the encoder finds.

    Args:
        config: what it was built from.
        observation: embeds samples for the encoder, scores and draws them given the decoder's output.
        network: the autoencoder.
        priors: models of the codes of each level, the coarsest first, given the codes of the coarser levels.

    >>> config = VQVAEConfig(strides=(2,), codebook_size=8, embedding_dim=2, channels=4, prior=FVSBNConfig())
    >>> model: VQVAE = config.build(Field(channels=1, grid=(4, 4)))
    >>> codes = model.encode(torch.zeros(3, 1, 4, 4))
    >>> codes.shape, codes.dtype, model.decode(codes).shape
    (torch.Size([3, 4]), torch.int64, torch.Size([3, 1, 4, 4]))
    >>> [stage.name for stage in model.stages()]
    ['codes', 'prior/0']
    """

    direction: Literal["lower"] = "lower"
    priors: Any

    def __init__(
        self, config: VQVAEConfig, observation: ObservationModel, network: VQNetwork, priors: Sequence[nn.Module]
    ) -> None:
        super().__init__()
        self.config, self.observation, self.network = config, observation, network
        self.priors = nn.ModuleList(priors)

    def extra_repr(self) -> str:
        return f"likelihood={self.observation.likelihood}"

    @property
    def codebooks(self) -> list[Codebook]:
        """The codebook of each level, the coarsest first."""
        return [level.codebook for level in self.network.code_levels()]

    def quantise(self, x: Tree, condition: Tree | None = None) -> Quantised:
        """Find the codes of samples, and decode them."""
        inputs = self.observation.inputs(x, self)
        return self.network(inputs, self.observation.context(condition, inputs))

    def generate(self, codes: Sequence[Tensor], condition: Tree | None = None) -> Tensor:
        """Likelihood parameters (B, D, P) of the samples with `codes`, each (B, codes_per_cell, *grid)."""
        like = self.codebooks[0].entries.new_zeros(codes[0].shape[0], 1)
        return self.network(None, self.observation.context(condition, like), codes).parameters

    def prior_condition(self, condition: Tree | None, coarser: Sequence[Tensor]) -> Tree | None:
        """Condition of a level's prior: the model's own, and the codebook entries of the coarser levels' codes."""
        if not coarser:
            return condition
        entries = [codebook.embed(codes) for codebook, codes in zip(self.codebooks, coarser, strict=False)]
        channels = {_name(level): each.movedim(-1, 2).flatten(1, 2) for level, each in enumerate(entries)}
        return from_named(named(condition) | channels)

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Draw n samples; each prior reads its noise under "prior/0", ..., the decoder "numbers" (D, U)."""
        require_batch_size(noise, n)
        codes: list[Tensor] = []
        for level, prior in enumerate(self.priors):
            codes.append(prior.sample(n, self.prior_condition(condition, codes), noise=noise.fold(_label(level))))
        return self.observation.draw(self.generate(codes, condition), noise)

    def log_bound(self, x: Tree, condition: Tree | None = None, *, noise: Noise) -> Tensor:
        """log p(x | z, c) + log p(z | c) at the codes that the encoder finds, (B,), nats; needs no noise.

        It is one term of the sum over all codes, so it is below the log-density on every draw; averages of draws do not
        tighten it.
        """
        found = self.quantise(x, condition)
        total = self.observation.log_prob(found.parameters, x)
        for level, prior in enumerate(self.priors):
            total = total + prior.log_prob(found.codes[level], self.prior_condition(condition, found.codes[:level]))
        return total

    def encode(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """All codes, flattened (B, N), int64, the coarsest level first."""
        return torch.cat([codes.flatten(1) for codes in self.quantise(x, condition).codes], dim=1)

    def decode(self, z: Tensor, condition: Tree | None = None) -> Tree:
        """The mean of the samples whose codes are z (B, N); raises `SpaceError`."""
        sizes = [math.prod(shape) for shape in self.network.shapes]
        if z.ndim != 2 or z.shape[1] != sum(sizes):
            raise SpaceError(f"z: expected codes of shape (B, {sum(sizes)}), found {tuple(z.shape)}.")
        pieces = zip(z.split(sizes, dim=1), self.network.shapes, strict=True)
        return self.observation.mean(self.generate([piece.unflatten(1, shape) for piece, shape in pieces], condition))

    def stages(self) -> list[Stage]:
        """The autoencoder's stage "codes", then those of each prior, labelled "prior/0" and so on."""
        stages = [Stage("codes", (Player("model", VQObjective(self), (self.network,)),))]
        for level, prior in enumerate(self.priors):
            stages += transform_batches(prior.stages(), partial(self._prior_batch, level), label=_label(level))
        return stages

    def _prior_batch(self, level: int, batch: Batch, noise: Noise) -> Batch:
        """Codes of a level as samples, those of the coarser levels in the condition."""
        codes = self.quantise(batch.x, batch.condition).codes
        return replace(batch, x=codes[level], condition=self.prior_condition(batch.condition, codes[:level]))


class VQObjective(Objective):
    """Negative log-likelihood of the decoder and the encoder's commitment loss, per feature of a sample, nats.

    This is eq. 3 of the paper without its middle term: the codebook is learned in `update` (appendix A.1). Level k
    reads the uniform noise "half/k" (codes_per_cell, *grid).

    >>> config = VQVAEConfig(strides=(2,), codebook_size=8, embedding_dim=2, channels=4, prior=FVSBNConfig())
    >>> VQObjective(config.build(Field(channels=1, grid=(4, 4)))).extra_repr()
    'commitment=0.25'
    """

    def __init__(self, model: VQVAE) -> None:
        super().__init__()
        self.model = model

    def extra_repr(self) -> str:
        return f"commitment={self.model.config.commitment}"

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        model = self.model
        found = model.quantise(batch.x, batch.condition)
        reconstruction = model.observation.log_prob(found.parameters, batch.x)
        losses = (model.config.commitment * found.distance - reconstruction) / model.observation.layout.features
        alive = torch.cat([~codebook.dead for codebook in model.codebooks]).to(losses.dtype).mean()
        metrics = {"reconstruction": reconstruction, "distance": found.distance, "usage": alive.expand(len(losses))}
        statistics = {
            f"{level}/{name}": tensor
            for level, (codebook, z, codes) in enumerate(zip(model.codebooks, found.vectors, found.codes, strict=True))
            for name, tensor in codebook.statistics(
                z, codes, noise.uniform(f"half/{level}", tuple(codes.shape[1:]))
            ).items()
        }
        return Losses(losses, metrics={name: value.detach() for name, value in metrics.items()}, statistics=statistics)

    def update(self, statistics: dict[str, Tensor]) -> None:
        for level, codebook in enumerate(self.model.codebooks):
            prefix = f"{level}/"
            own = {name.removeprefix(prefix): t for name, t in statistics.items() if name.startswith(prefix)}
            codebook.update(own)


def _label(level: int) -> str:
    """Name of a level's prior among stages and noise."""
    return f"prior/{level}"


def _name(level: int) -> str:
    """Name of a level's codes in the conditions of the finer levels' priors."""
    return f"codes/{level}"


def _space(shape: tuple[int, ...], support: Support, field: Field) -> Simple:
    """The space of values on the grid of a level, (channels, *grid), periodic where `field` is."""
    channels, *grid = shape
    if not grid:
        return Vector(dim=channels, support=support)
    return Field(channels=channels, grid=tuple(grid), periodic=field.periodic, support=support)


@families.register("vq-vae")
class VQVAEConfig(FamilyConfig):
    """Vector-quantised autoencoder with a prior of its codes.

    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Field
    >>> config = VQVAEConfig(strides=(2,), codebook_size=8, embedding_dim=2, channels=4, prior={"kind": "fvsbn"})
    >>> model = config.build(Field(channels=1, grid=(4, 4)))
    >>> noise = KeyedNoise(0, torch.arange(3))
    >>> x = model.sample(3, noise=noise)
    >>> x.shape, model.log_bound(x, noise=noise).shape, model.encode(x).shape
    (torch.Size([3, 1, 4, 4]), torch.Size([3]), torch.Size([3, 4]))
    """

    summary: ClassVar[str] = "discrete codes from learned codebooks on one or more grids, and a prior of these codes"
    reference: ClassVar[str] = "VQ-VAE, arXiv:1711.00937; VQ-VAE-2, arXiv:1906.00446"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "sequence", "product")
    supports: ClassVar[tuple[str, ...]] = ("real", "binary", "levels", "interval")
    model: ClassVar[type[nn.Module]] = VQVAE
    unbiased: ClassVar[bool] = False

    kind: Literal["vq-vae"] = "vq-vae"
    strides: tuple[Stride, ...] = Described(
        default=(4,),
        min_length=1,
        description="how much coarser each level of codes is than the one before, the first than the sample; "
        "one is VQ-VAE, two are VQ-VAE-2",
    )
    codebook_size: int = Described(default=512, ge=2, description="entries of each level's codebook")
    embedding_dim: int = Described(default=64, ge=1, description="length of a codebook entry")
    codes_per_cell: int = Described(
        default=1, ge=1, description="codes in each cell of the grid; a sample without grid has one cell"
    )
    channels: int = Described(default=64, ge=1, description="channels of all features")
    depth: int = Described(default=1, ge=1, description="residual blocks at each level, bottom-up and top-down")
    commitment: float = Described(
        default=0.25, gt=0, description="weight of the vectors' squared distance to their codebook entries"
    )
    decay: float = Described(default=0.99, ge=0, lt=1, description="decay of the codebook's moving averages")
    dead_threshold: float = Described(
        default=0.03,
        gt=0,
        lt=1,
        description="entries used less than this fraction of the mean use are replaced",
    )
    prior: AnyFamily = Described(default=TransformerConfig(), description="family of the priors of the codes")
    likelihood: AnyLikelihood | None = None

    def build(self, space: Space, condition: Space | None = None) -> VQVAE:
        observation = ObservationModel.of(space, condition, self.likelihood)
        likelihood, context_features = observation.likelihood, observation.layout.context_features
        network = VQNetwork(space, self, likelihood.embed_dim, context_features, likelihood.parameters)
        field = network.hourglass.field
        codes = [_space(shape, Levels(count=self.codebook_size), field) for shape in network.shapes]
        entries = {
            _name(level): _space((self.embedding_dim * per_cell, *grid), Real(), field)
            for level, (per_cell, *grid) in enumerate(network.shapes)
        }
        priors = []
        for level, each in enumerate(codes):
            coarser = {_name(k): entries[_name(k)] for k in range(level)}
            given = from_parts(as_parts(condition) | coarser) if coarser else condition
            priors.append(self._prior(level, each, given))
        return VQVAE(self, observation, network, priors)

    def _prior(self, level: int, codes: Space, condition: Space | None) -> nn.Module:
        try:
            prior: nn.Module = self.prior.build(codes, condition)
        except ConfigError as error:
            if size(codes) > 1:
                raise
            raise ConfigError(
                f"vq-vae.prior: level {level} has 1 code per sample; raise `codes_per_cell` or take another prior. "
                f"{error}"
            ) from None
        if not {"density", "sample"} <= {*capabilities(prior)}:
            raise ConfigError(
                f'vq-vae.prior: "{kind_of(self.prior)}" has no samples of codes with a density; '
                'take an autoregressive family such as "transformer".'
            )
        return prior

    @classmethod
    def example(cls) -> VQVAEConfig:
        return cls(strides=(1, 2), codebook_size=4, embedding_dim=2, codes_per_cell=2, channels=6, prior=FVSBNConfig())
