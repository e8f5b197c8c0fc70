"""VQ-VAE: an autoencoder whose codes are numbers of entries in a codebook, and a model of these numbers.

Van den Oord, Vinyals & Kavukcuoglu, arXiv:1711.00937, with one level of codes; with two, Razavi, van den Oord &
Vinyals, "VQ-VAE-2", arXiv:1906.00446: the coarser codes are found first, and the finer ones given them. The first stage
fits the autoencoder, each of the following a prior to the codes of one level given those above it: any family of
discrete numbers with a density.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field as Described
from torch import Tensor, nn

from ...capabilities import Quantised, capabilities
from ...config import kind_of
from ...data import Batch
from ...errors import ConfigError, SpaceError
from ...likelihoods import AnyLikelihood, at_least_float32
from ...nets.conv import Convolution, Residual, Stride, normalized
from ...nets.hourglass import Hourglass
from ...noise import Noise, require_batch_size
from ...objective import Losses, Objective, Player, Stage, transform_batches
from ...spaces import Field, Levels, Product, Real, Simple, Space, Support, Tree, Vector, size
from .. import AnyFamily, FamilyConfig, families
from ..autoregressive.fvsbn import FVSBNConfig
from ..autoregressive.transformer import TransformerConfig
from .codebook import Codebook
from .observation import ObservationModel


def straight_through(z: Tensor, code: Tensor) -> Tensor:
    """The value of `code` with the gradient of `z`: the quantisation passes gradients as if it were not there."""
    return z + (code - z).detach()


class CodeLevel(nn.Module):
    """Codes on one grid: where they come from, their book, and what they add to the features of the way down."""

    def __init__(self, field: Field, config: VQVAEConfig, context_features: int) -> None:
        super().__init__()
        width = config.slots * config.width
        self.slots = config.slots
        self.leave = Convolution(field, 2 * config.channels, width)
        self.book = Codebook(config.codes, config.width, decay=config.decay, revive=config.revive)
        self.enter = Convolution(field, width, config.channels)
        self.blocks = nn.ModuleList(Residual(field, config.channels, context_features) for _ in range(config.depth))

    def vectors(self, seen: Tensor, features: Tensor) -> Tensor:
        """Features of the sample and of the way down, (B, channels, *grid), to (B, slots, *grid, d)."""
        z = self.leave(torch.cat((normalized(seen), normalized(features)), dim=1))
        return at_least_float32(z).unflatten(1, (self.slots, -1)).movedim(2, -1)

    def forward(self, features: Tensor, vectors: Tensor, context: Tensor | None) -> Tensor:
        """Features (B, channels, *grid) after vectors (B, slots, *grid, d) were found."""
        features = features + self.enter(vectors.movedim(-1, 2).flatten(1, 2))
        for block in self.blocks:
            features = block(features, context)
        return features


class Tower(nn.Module):
    """The network: the way up, and the way down with its codes."""

    def __init__(
        self, space: Space, config: VQVAEConfig, embed_dim: int, context_features: int, parameters: int
    ) -> None:
        super().__init__()
        self.ways = Hourglass(
            space,
            config.strides,
            where="vq-vae.strides",
            embed_dim=embed_dim,
            parameters=parameters,
            channels=config.channels,
            depth=config.depth,
            context_features=context_features,
        )
        self.levels = nn.ModuleList(CodeLevel(field, config, context_features) for field in self.ways.fields)
        self.shapes = [(config.slots, *field.grid) for field in self.ways.fields]

    def forward(
        self, inputs: Tensor | None, context: Tensor | None, index: Sequence[Tensor] | None = None
    ) -> Quantised:
        """Find the codes of samples (B, D, K), or take the given ones, each (B, slots, *grid), and decode them."""
        seen = [] if inputs is None else self.ways.up(inputs, context)
        batch = index[0].shape[0] if index is not None else len(seen[0])
        features = self.ways.begin(batch)
        indices, found, distance = [], [], features.new_zeros(batch)
        for k, (level, refine) in enumerate(zip(self.levels, self.ways.finer, strict=True)):
            assert isinstance(level, CodeLevel)
            if index is None:
                vectors = level.vectors(seen[k], features)
                indices.append(level.book.nearest(vectors.detach()))
                codes = level.book.embed(indices[-1])
                found.append(vectors)
                distance = distance + (vectors - codes).square().flatten(1).sum(1)
                codes = straight_through(vectors, codes)
            else:
                indices.append(index[k])
                codes = level.book.embed(index[k])
            features = refine(level(features, codes, context))
        return Quantised(self.ways.end(features), indices, found, distance)


class VQVAE(nn.Module):
    """p(x | c) = sum_z p(x | z, c) p(z | c), where q(z | x, c) is the one z that the encoder finds.

    Args:
        config: what it was built from.
        observed: the samples' side.
        tower: the autoencoder.
        priors: models of the codes of each level, the coarsest first, given the codes of the levels above it.
    """

    direction: Literal["lower"] = "lower"
    priors: Any

    def __init__(
        self, config: VQVAEConfig, observed: ObservationModel, tower: Tower, priors: Sequence[nn.Module]
    ) -> None:
        super().__init__()
        self.config, self.observed, self.tower, self.priors = config, observed, tower, nn.ModuleList(priors)

    @property
    def books(self) -> list[Codebook]:
        """The codebook of each level, the coarsest first."""
        return [level.book for level in self.tower.levels]  # type: ignore[union-attr]

    def quantise(self, x: Tree, condition: Tree | None = None) -> Quantised:
        """Find the codes of samples, and decode them."""
        inputs = self.observed.inputs(x, self)
        return self.tower(inputs, self.observed.context(condition, inputs))

    def generate(self, index: Sequence[Tensor], condition: Tree | None = None) -> Tensor:
        """Parameters (B, D, P) of the numbers whose codes are `index`, each (B, slots, *grid)."""
        like = self.books[0].codes.new_zeros(index[0].shape[0], 1)
        return self.tower(None, self.observed.context(condition, like), index).parameters

    def given(self, condition: Tree | None, above: Sequence[Tensor]) -> Tree | None:
        """What the prior of a level is conditioned on: the condition, and the codes of the levels above as vectors."""
        if not above:
            return condition
        named = {} if condition is None else condition if isinstance(condition, dict) else {"condition": condition}
        vectors = [book.embed(index) for book, index in zip(self.books, above, strict=False)]
        return named | {_name(level): z.movedim(-1, 2).flatten(1, 2) for level, z in enumerate(vectors)}

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Draw n samples; each prior reads its noise under "prior/0", ..., the decoder "numbers" (D, U)."""
        require_batch_size(noise, n)
        index: list[Tensor] = []
        for level, prior in enumerate(self.priors):
            index.append(prior.sample(n, self.given(condition, index), noise=noise.fold(f"prior/{level}")))
        return self.observed.draw(self.generate(index, condition), noise)

    def log_bound(self, x: Tree, condition: Tree | None = None, *, noise: Noise) -> Tensor:
        """log p(x | z, c) + log p(z | c) at the codes that the encoder finds, (B,), nats; needs no noise.

        One term of the sum over all codes, so below the log-density on any draw, and not to be averaged.
        """
        found = self.quantise(x, condition)
        total = self.observed.log_prob(found.parameters, x)
        for level, prior in enumerate(self.priors):
            total = total + prior.log_prob(found.index[level], self.given(condition, found.index[:level]))
        return total

    def encode(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """Numbers of all codes in one row (B, N), int64, the coarsest level first."""
        return torch.cat([index.flatten(1) for index in self.quantise(x, condition).index], dim=1)

    def decode(self, z: Tensor, condition: Tree | None = None) -> Tree:
        """The mean of the samples whose codes are z (B, N); raises `SpaceError`."""
        sizes = [math.prod(shape) for shape in self.tower.shapes]
        if z.ndim != 2 or z.shape[1] != sum(sizes):
            raise SpaceError(f"z: expected numbers of codes of shape (B, {sum(sizes)}), found {tuple(z.shape)}.")
        pieces = zip(z.split(sizes, dim=1), self.tower.shapes, strict=True)
        return self.observed.mean(self.generate([piece.unflatten(1, shape) for piece, shape in pieces], condition))

    def stages(self) -> list[Stage]:
        """The autoencoder's stage "codes", then those of each prior, labelled "prior/0" and so on."""
        stages = [Stage("codes", (Player("model", VQObjective(self), (self.tower,)),))]
        for level, prior in enumerate(self.priors):
            stages += transform_batches(prior.stages(), partial(self._view, level), label=_label(level))
        return stages

    def _view(self, level: int, batch: Batch, noise: Noise) -> Batch:
        """Codes of a level as samples, those above it among the conditions."""
        index = self.quantise(batch.x, batch.condition).index
        return replace(batch, x=index[level], condition=self.given(batch.condition, index[:level]))


class VQObjective(Objective):
    """Negative log-likelihood of the decoder and the commitment of the encoder to the codes, per number, nats.

    The paper's eq. 3, but for its middle term: codes follow the vectors in `update` (appendix A.1).
    """

    def __init__(self, model: VQVAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        model = self.model
        found = model.quantise(batch.x, batch.condition)
        reconstruction = model.observed.log_prob(found.parameters, batch.x)
        losses = (model.config.commitment * found.distance - reconstruction) / model.observed.layout.features
        alive = torch.cat([~book.dead for book in model.books]).to(losses.dtype).mean()
        metrics = {"reconstruction": reconstruction, "distance": found.distance, "alive": alive.expand(len(losses))}
        statistics = {
            f"{level}/{name}": tensor
            for level, (book, z, index) in enumerate(zip(model.books, found.vectors, found.index, strict=True))
            for name, tensor in book.statistics(
                z, index, noise.uniform(f"half/{level}", tuple(index.shape[1:]))
            ).items()
        }
        return Losses(losses, metrics={name: value.detach() for name, value in metrics.items()}, statistics=statistics)

    def update(self, statistics: dict[str, Tensor]) -> None:
        for level, book in enumerate(self.model.books):
            start = f"{level}/"
            book.update({name.removeprefix(start): t for name, t in statistics.items() if name.startswith(start)})


def _label(level: int) -> str:
    return f"prior/{level}"


def _name(level: int) -> str:
    """What the codes of a level are called among the conditions of those below."""
    return f"codes/{level}"


def _part(shape: tuple[int, ...], support: Support, field: Field) -> Simple:
    """The space of numbers on the grid of a level, (channels, *grid)."""
    channels, *grid = shape
    if not grid:
        return Vector(dim=channels, support=support)
    return Field(channels=channels, grid=tuple(grid), periodic=field.periodic, support=support)


@families.register("vq-vae")
class VQVAEConfig(FamilyConfig):
    """Vector-quantised autoencoder with a prior over its codes."""

    summary: ClassVar[str] = "codes from a learned book on one or more grids, and a prior of these codes"
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
    codes: int = Described(default=512, ge=2, description="entries of each level's codebook")
    width: int = Described(default=64, ge=1, description="numbers of a code")
    slots: int = Described(default=1, ge=1, description="codes in each cell; a sample without grid has one cell")
    channels: int = Described(default=64, ge=1, description="channels of all features")
    depth: int = Described(default=1, ge=1, description="residual blocks at each level, on the way up and down")
    commitment: float = Described(default=0.25, gt=0, description="weight of the vectors' squared distance to codes")
    decay: float = Described(default=0.99, ge=0, lt=1, description="decay of the codebook's running means")
    revive: float = Described(
        default=0.03,
        gt=0,
        lt=1,
        description="codes used less than this, relative to the mean, move to where there are more",
    )
    prior: AnyFamily = Described(default=TransformerConfig(), description="family of the codes' priors")
    likelihood: AnyLikelihood | None = None

    def build(self, space: Space, condition: Space | None = None) -> VQVAE:
        observed = ObservationModel.of(space, condition, self.likelihood)
        law, context_features = observed.law, observed.layout.context_features
        tower = Tower(space, self, law.embed_dim, context_features, law.parameters)
        levels = [_part(shape, Levels(count=self.codes), tower.ways.field) for shape in tower.shapes]
        above = [_part((self.width * slots, *grid), Real(), tower.ways.field) for slots, *grid in tower.shapes]
        priors = [
            self._prior(level, codes, _with(condition, {_name(k): part for k, part in enumerate(above[:level])}))
            for level, codes in enumerate(levels)
        ]
        return VQVAE(self, observed, tower, priors)

    def _prior(self, level: int, codes: Space, condition: Space | None) -> nn.Module:
        try:
            prior: nn.Module = self.prior.build(codes, condition)
        except ConfigError as error:
            if size(codes) > 1:
                raise
            raise ConfigError(
                f"vq-vae.prior: level {level} has 1 code per sample; raise `slots`, or take another prior. {error}"
            ) from None
        if not {"density", "sample"} <= {*capabilities(prior)}:
            raise ConfigError(
                f'vq-vae.prior: "{kind_of(self.prior)}" cannot both draw codes and say how likely they are; '
                'take an autoregressive family such as "transformer".'
            )
        return prior

    @classmethod
    def example(cls) -> VQVAEConfig:
        return cls(strides=(1, 2), codes=4, width=2, slots=2, channels=6, prior=FVSBNConfig())


def _with(condition: Space | None, parts: dict[str, Simple]) -> Space | None:
    """A condition and further parts together."""
    if not parts:
        return condition
    own = {} if condition is None else condition.parts if isinstance(condition, Product) else {"condition": condition}
    return Product(parts={**own, **parts})
