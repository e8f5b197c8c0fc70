"""A domain's generator: a codec (physical quantities to tensors) composed with a family of `core`.

A codec for tables of two columns with one condition, both divided by their standard deviations, and its config:

>>> from maquette.core.data import TensorSource
>>> from maquette.core.noise import KeyedNoise
>>> from maquette.core.spaces import Vector
>>> class Scaled(VolumeCodec):
...     exact = True
...     def __init__(self):
...         super().__init__(Vector(dim=2), Vector(dim=1))
...         self.register_buffer("scale", torch.ones(3))
...     def fit(self, source):
...         batch = source.fetch(torch.arange(len(source)))
...         self.scale.copy_(torch.cat((batch.x, batch.condition), dim=1).std(0))
...     def encode_with_volume(self, batch, noise):
...         y = Batch(batch.x / self.scale[:2], self.encode_condition(batch.condition), batch.index)
...         return y, -self.scale[:2].log().sum().expand(len(batch))
...     def encode_condition(self, condition):
...         return condition / self.scale[2]
...     def decode(self, y, condition):
...         return y * self.scale[:2]
...     def draw_condition(self, noise):
...         return self.scale[2] * noise.normal("condition", (1,))
>>> class ScaledConfig(CodecConfig):
...     def build(self, description):
...         return Scaled()

A generator of such tables, whose family has a density:

>>> data = TensorSource(torch.randn(50, 2), torch.randn(50, 1))
>>> config = GeneratorConfig.model_validate({"codec": ScaledConfig(), "family": {"kind": "linear"}})
>>> generator = config.build({}, data)
>>> batch = data.fetch(torch.arange(3))
>>> noise = KeyedNoise(0, batch.index)
>>> encoded = generator.codec.encode(batch, noise)
>>> torch.allclose(generator.codec.decode(encoded.x, batch.condition), batch.x)
True
>>> x = generator.sample(3, batch.condition, noise=noise)
>>> isinstance(generator.codec, Codec), isinstance(generator.codec, DrawsConditions)
(True, True)
>>> isinstance(generator, DensityGenerator), isinstance(generator, BoundedGenerator)
(True, False)
>>> x.shape, generator.log_prob(x, batch.condition).shape
(torch.Size([3, 2]), torch.Size([3]))

It is one file and its description, from which the same config reads it again:

>>> import tempfile
>>> from pydantic import create_model
>>> TableConfig = create_model("TableConfig", __base__=GeneratorConfig, codec=(ScaledConfig, ScaledConfig()))
>>> with tempfile.TemporaryDirectory() as folder:
...     generator.save(folder, domain="tables")
...     again = load_generator(Path(folder), TableConfig)
>>> torch.equal(again.sample(3, batch.condition, noise=noise), x)
True
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

from ..core import artifact
from ..core.capabilities import Density, Resizable, capabilities
from ..core.config import Config, kind_of, parse
from ..core.data import Batch, Source, map_tree
from ..core.engine.draws import Sources
from ..core.engine.draws import named as sources_by_name
from ..core.errors import ConfigError
from ..core.families import AnyFamily
from ..core.families.sampling import share
from ..core.noise import Noise, TapeNoise
from ..core.objective import Stage, Trainable, transform_batches
from ..core.precision import all_digits, at_least_single
from ..core.spaces import Space, Tree, batch_size, named
from .disagreement import Disagreement, relative_difference

EXAMPLES = 64
EXAMPLE_BYTES = 32 * 2**20
"""Most rows and bytes of conditions that are kept as examples."""
_EXAMPLES = "examples/"  # prefix of their names among the weights

Augmentation = Callable[[Batch, Noise], Batch]
"""Replaces the samples of a training batch by random images under a symmetry of the data."""


class Codec(nn.Module, ABC):
    """Maps physical batches to values of `space` given `condition`, and back; the module's docstring has an example.

    What it fits (scales, distributions) is in buffers, so that it is saved with the weights.

    Args:
        space: of encoded samples; the family is built for it.
        condition: space of encoded conditions; None without conditions.
    """

    sample_name: ClassVar[str] = "samples"
    """Name of a sample in files and exports, if it is one tensor."""
    units: ClassVar[Mapping[str, str]] = {}
    """Units of the physical conditions and samples by name; a name that is missing has none."""

    def __init__(self, space: Space, condition: Space | None = None) -> None:
        super().__init__()
        self.space, self.condition = space, condition

    @abstractmethod
    def fit(self, source: Source) -> None:
        """Fit scales and distributions to the training data; called once, before the family is built.

        Of several sources this is the leading one; `fit_others` gets the rest.
        """

    def fit_others(self, others: Mapping[str, Source]) -> None:
        """Fit to further training data by name, such as the paintings beside photos; called after `fit`.

        By default nothing is fitted to them. `encode` gets the batches of all sources; `Batch.name` says of which.
        """

    @abstractmethod
    def encode(self, batch: Batch, noise: Noise) -> Batch:
        """Physical batch to a batch of `space` and `condition`; noise dequantises."""

    def encode_condition(self, condition: Tree) -> Tree:
        """Physical condition to a value of `self.condition`; by default it is one already."""
        return condition

    def accept(self, condition: Tree, *, where: str = "condition.", first: int = 0) -> Tree:
        """Those of the given physical conditions that the model needs.

        Args:
            condition: physical values, by name or one tensor.
            where: prefix of a condition's name in messages.
            first: row number of the first value, for messages.

        Raises:
            ConfigError: a condition is missing, or outside the range of training.
        """
        return condition

    @abstractmethod
    def decode(self, y: Tree, condition: Tree | None) -> Tree:
        """Value of `space` and *physical* condition, None without conditions, to physical samples."""

    def disagreement(self, expected: Tree, found: Tree, condition: Tree | None) -> Disagreement:
        """How far physical samples differ from those expected, by name; given `condition`, None without conditions.

        By default the largest difference of a value, relative to the largest value of its sample. A codec whose
        `decode` has thresholds, where rounding may decide, says what it allows there.
        """
        return relative_difference(expected, found)


class VolumeCodec(Codec):
    """A codec whose map has a volume, so that log-densities of encoded samples become those of physical ones."""

    exact: ClassVar[bool] = False
    """Whether the map is one to one and reads no noise, so that densities stay exact; otherwise they become bounds."""

    @abstractmethod
    def encode_with_volume(self, batch: Batch, noise: Noise) -> tuple[Batch, Tensor]:
        """Physical batch to a batch of `space` and `condition`, and the log-volume (B,) of the map.

        The log-volume is log |dy / d(x, noise)| - log q(noise): log p(x) >= log p(y) + volume, with equality for a
        codec that is exact. A codec's docstring states the base measure of x.
        """

    def encode(self, batch: Batch, noise: Noise) -> Batch:
        """`encode_with_volume` without the volume."""
        return self.encode_with_volume(batch, noise)[0]


@runtime_checkable
class DrawsConditions(Protocol):
    """A codec that knows the distribution of conditions in training; one that does not needs them to be given."""

    def draw_condition(self, noise: Noise) -> Tree | None:
        """Physical conditions drawn from the distribution of training."""
        ...


class CodecConfig(Config):
    """Base of a domain's codec configs."""

    @abstractmethod
    def build(self, description: Mapping[str, Any]) -> Codec:
        """Return the unfitted codec for data that a domain describes as plain JSON."""

    def description_at(self, description: Mapping[str, Any], space: Space) -> Mapping[str, Any]:
        """The description of data whose encoded samples are of another space: a larger grid, the volume of a slice.

        The codec that `build` makes for it takes over what was fitted. By default data have one size.

        Args:
            description: of the training data.
            space: of the encoded samples.

        Raises:
            ConfigError: there are no such data.
        """
        raise ConfigError(
            f"{kind_of(self)}: this codec encodes data of one size; samples of another one were asked for."
        )


class GeneratorConfig(Config):
    """Codec and family; a domain narrows `codec` to its own and may add an augmentation.

    >>> from maquette.domains.calorimeter.generator import ShowerGeneratorConfig
    >>> config = parse(ShowerGeneratorConfig, {"family": {"kind": "linear"}}, where="example")
    >>> isinstance(config, GeneratorConfig), isinstance(config.codec, CodecConfig)
    (True, True)
    >>> config.codec.kind, config.family.kind
    ('shower', 'linear')
    """

    codec: CodecConfig
    family: AnyFamily

    def build(self, description: Mapping[str, Any], source: Source | Sources | None = None) -> Generator:
        """Return a generator.

        Args:
            description: of the training data, of the leading ones if there are several.
            source: the training data, or several by name, the leading one first: the codec is fitted to them. If they
                are not given, its buffers await loading.

        Raises:
            ConfigError: a family that cannot model the codec's space, that cannot sample, or that samples another space
                which the codec cannot decode.
        """
        codec = self.codec.build(description)
        leading, others = _leading(source)
        if leading is not None:
            codec.fit(leading)
            if others:
                codec.fit_others(others)
        family = self.family.build(codec.space, codec.condition)
        able = capabilities(family)
        if "sample" not in able:
            raise ConfigError(f"family.kind: {kind_of(self.family)} cannot sample, which a generator needs.")
        kind = _kind(codec, family, able)
        generator = kind(codec, family, self, description, space=self.family.samples(codec.space))
        generator.decoder  # noqa: B018 - refuses here what it could not decode after the fit
        if leading is not None and codec.condition is not None and not isinstance(codec, DrawsConditions):
            generator.examples = _example_rows(leading)
        return generator

    def augmentation(self, codec: Codec) -> Augmentation | None:
        """A random exact symmetry of the data, applied to training batches; None for none."""
        return None


def _leading(source: Source | Sources | None) -> tuple[Source | None, Mapping[str, Source]]:
    """The leading source, the first one, and the others by name."""
    if source is None:
        return None, {}
    sources = dict(sources_by_name(source))
    return sources.pop(next(iter(sources))), sources


def _example_rows(source: Source) -> Tree | None:
    """Physical conditions of a few rows, evenly spaced: `EXAMPLES`, or as many as `EXAMPLE_BYTES` hold."""
    one = named(source.fetch(torch.zeros(1, dtype=torch.int64)).condition)
    size = sum(part.numel() * part.element_size() for part in one.values())
    count = max(1, min(EXAMPLES, len(source), EXAMPLE_BYTES // max(1, size)))
    return source.fetch(torch.arange(count) * len(source) // count).condition


class Generator(nn.Module):
    """Samples physical quantities; trains its family on encoded batches.

    Args:
        codec: of the training data.
        family: model of encoded samples.
        config: of both.
        description: of the training data.
        space: of the encoded samples that the family draws; that of the codec if not given.

    Attributes:
        examples: physical conditions of a few training rows, kept in the artefact by models whose conditions are given
            and not drawn: exports and services have something to try the model on. None for other models.
    """

    codec: Codec
    family: Any

    def __init__(
        self,
        codec: Codec,
        family: nn.Module,
        config: GeneratorConfig,
        description: Mapping[str, Any],
        *,
        space: Space | None = None,
    ) -> None:
        super().__init__()
        self.codec, self.family, self.config, self.trained_on = codec, family, config, dict(description)
        self.space: Space = codec.space if space is None else space
        self.augmentation = config.augmentation(codec)
        self.examples: Tree | None = None

    @property
    def description(self) -> Mapping[str, Any]:
        """Describes the data that it samples, as a `Dataset` does."""
        if self.space == self.codec.space:
            return self.trained_on
        return self.config.codec.description_at(self.trained_on, self.space)

    @property
    def decoder(self) -> Codec:
        """The codec of what it samples: `codec`, or one for data of the other space, with what `codec` fitted.

        Raises:
            ConfigError: there is none.
        """
        if self.space == self.codec.space:
            return self.codec
        fitted, decoder = self.codec.state_dict(), self.config.codec.build(self.description)
        if decoder.space != self.space:
            raise ConfigError(f"expected a codec of {self.space!r} for such data, found one of {decoder.space!r}.")
        shapes = {name: tensor.shape for name, tensor in decoder.state_dict().items()}
        if unlike := [name for name, tensor in fitted.items() if shapes.get(name) != tensor.shape]:
            raise ConfigError(f"what the codec fitted ({unlike[0]}) belongs to data of one size.")
        decoder.load_state_dict(fitted, assign=True)
        return decoder

    def at(self, space: Space) -> Self:
        """A view of the generator, sharing its weights, that samples encoded values of another space (a larger grid).

        Raises:
            ConfigError: a family, a network or a codec that has one size only.
        """
        if not isinstance(self.family, Resizable):
            raise ConfigError(f"family.kind: {kind_of(self.config.family)} samples one size only.")
        view = share(self, family=self.family.at(space), space=space, examples=None)
        view.decoder  # noqa: B018 - refuses
        return view

    def draw_condition(self, noise: Noise) -> Tree | None:
        """Physical conditions drawn from the distribution of training; None for a model without conditions.

        Raises:
            ConfigError: the model's conditions are given, not drawn.
        """
        if self.codec.condition is None:
            return None
        if isinstance(decoder := self.decoder, DrawsConditions):
            return decoder.draw_condition(noise)
        raise ConfigError("the conditions of this model are not drawn: give them, such as with --conditions-from FILE.")

    def typical_condition(self, n: int, noise: Noise) -> Tree | None:
        """n physical conditions as in training: drawn, or those of `examples` in turn; None without conditions."""
        if self.examples is None:
            return self.draw_condition(noise)
        return map_tree(lambda rows: rows[torch.arange(n) % len(rows)], self.examples)

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Draw `n` physical samples given physical conditions (by default drawn from those of training, if any)."""
        if condition is None:
            condition = self.draw_condition(noise.fold("condition"))
        with all_digits():  # units and tables need them, whatever the networks compute in
            decoder = self.decoder
            encoded = None if condition is None else decoder.encode_condition(condition)
        x = self.family.sample(n, encoded, noise=noise.fold("family"))
        with all_digits():
            return decoder.decode(map_tree(at_least_single, x), condition)

    def accept(self, condition: Tree, *, where: str = "condition.", first: int = 0) -> Tree:
        """`Codec.accept`; raises `ConfigError` also where the model has no conditions."""
        if self.codec.condition is None:
            raise ConfigError(f"{where.rstrip('.: ')}: conditions were given, but this model has none.")
        return self.decoder.accept(condition, where=where, first=first)

    def _prepare(self, batch: Batch, noise: Noise) -> Batch:
        if self.augmentation is not None:
            batch = self.augmentation(batch, noise.fold("symmetry"))
        return self.codec.encode(batch, noise.fold("codec"))

    def stages(self) -> Sequence[Stage]:
        """The stages of the family on augmented and encoded batches; raises `ConfigError` if it cannot be trained."""
        if not isinstance(self.family, Trainable):
            raise ConfigError(f"family.kind: {kind_of(self.config.family)} has no stages, so it cannot be trained.")
        return transform_batches(self.family.stages(), self._prepare)

    def save(self, folder: Path, **provenance: Any) -> None:
        """Write the artefact: config, data description and weights."""
        config = {"generator": self.config.model_dump(mode="json"), "description": self.trained_on, **provenance}
        examples = {_EXAMPLES + name: part for name, part in named(self.examples, "").items()}
        artifact.save(folder, config, {**self.state_dict(), **examples})


class DensityGenerator(Generator):
    """A generator whose family has a density and whose codec is exact, so that the physical density follows."""

    def log_prob(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """log p(x | condition), shape (B,), nats; the codec's docstring states the base measure of x."""
        encoded, volume = _encode_with_volume(self.decoder, x, condition, TapeNoise({}))  # reads none
        return self.family.log_prob(encoded.x, encoded.condition) + volume


class BoundedGenerator(Generator):
    """A generator with a bound on its physical log-density: its family has a density or a bound, its codec a volume.

    Attributes:
        direction: whether the bound lies below or above, on average: that of the family; below, if it has a density.
    """

    @property
    def direction(self) -> Literal["lower", "upper"]:
        return "lower" if isinstance(self.family, Density) else self.family.direction

    def log_bound(self, x: Tree, condition: Tree | None = None, *, noise: Noise) -> Tensor:
        """Bound on log p(x | condition) from one draw of the noise, shape (B,), nats.

        The codec's docstring states the base measure of x. The bound is the family's density, or bound, times the
        volume of the codec's map; what `decode` does besides inverting the map, such as thresholding, is not part of
        it. A sample outside the range of the map has -inf.
        """
        encoded, volume = _encode_with_volume(self.decoder, x, condition, noise.fold("codec"))
        if isinstance(self.family, Density):
            return self.family.log_prob(encoded.x, encoded.condition) + volume
        return self.family.log_bound(encoded.x, encoded.condition, noise=noise.fold("family")) + volume


def _encode_with_volume(codec: Codec, x: Tree, condition: Tree | None, noise: Noise) -> tuple[Batch, Tensor]:
    assert isinstance(codec, VolumeCodec)  # `_kind` has made sure
    return codec.encode_with_volume(Batch(x, condition, torch.arange(batch_size(x))), noise)


def _kind(codec: Codec, family: Any, able: Sequence[str]) -> type[Generator]:
    """What follows from both: a density, a bound on it, or neither."""
    if not isinstance(codec, VolumeCodec):
        return Generator
    if codec.exact and "density" in able:
        return DensityGenerator
    # the volume of an inexact codec bounds from below, which a bound from above does not add to
    bounds = "density" in able or ("bound" in able and (codec.exact or family.direction == "lower"))
    return BoundedGenerator if bounds else Generator


def load_generator(folder: Path, config: type[GeneratorConfig]) -> Generator:
    """Read a generator from its artefact; raises `ArtifactError` or `ConfigError`."""
    content, tensors = artifact.load(folder)
    generator = parse(config, content["generator"], where=str(folder)).build(content["description"])
    examples = {name.removeprefix(_EXAMPLES): tensors.pop(name) for name in list(tensors) if name.startswith(_EXAMPLES)}
    artifact.restore(generator, tensors, what=str(folder))
    generator.examples = examples.get("", examples or None)
    return generator.eval().requires_grad_(False)
