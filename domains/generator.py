"""A domain's generator: a codec (physical quantities to tensors) composed with a family of `core`.

A generator of tables of two columns with one condition, whose codec leaves them as they are, and whose family has a
density:

>>> from maquette.core.data import TensorSource
>>> from maquette.core.noise import KeyedNoise
>>> from maquette.core.spaces import Vector
>>> class Plain(VolumeCodec):
...     exact = True
...     def fit(self, source): ...
...     def encode_with_volume(self, batch, noise):
...         return batch, torch.zeros(len(batch))
...     def decode(self, y, condition):
...         return y
>>> class PlainConfig(CodecConfig):
...     def build(self, description):
...         return Plain(Vector(dim=2), Vector(dim=1))
>>> data = TensorSource(torch.randn(50, 2), torch.randn(50, 1))
>>> config = GeneratorConfig.model_validate({"codec": PlainConfig(), "family": {"kind": "linear"}})
>>> generator = config.build({}, data)
>>> batch = data.fetch(torch.arange(3))
>>> noise = KeyedNoise(0, batch.index)
>>> x = generator.sample(3, batch.condition, noise=noise)
>>> isinstance(generator, DensityGenerator), isinstance(generator, BoundedGenerator)
(True, False)
>>> x.shape, generator.log_prob(x, batch.condition).shape
(torch.Size([3, 2]), torch.Size([3]))

It is one file and its description, from which the same config reads it again:

>>> import tempfile
>>> from pydantic import create_model
>>> TableConfig = create_model("TableConfig", __base__=GeneratorConfig, codec=(PlainConfig, PlainConfig()))
>>> with tempfile.TemporaryDirectory() as folder:
...     generator.save(folder, domain="tables")
...     again = load_generator(Path(folder), TableConfig)
>>> torch.equal(again.sample(3, batch.condition, noise=noise), x)
True
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

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
from .codec import Augmentation, Codec, CodecConfig, DrawsConditions, VolumeCodec, constrained
from .examples import example_rows

_EXAMPLES = "examples/"  # prefix of their names among the weights


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
            source: the training data, or several by name, the leading one first. Without them the codec is not fitted.

        Raises:
            ConfigError: a family that cannot model the codec's space, keep its constraint, or sample what it decodes.
        """
        codec = self.codec.build(description)
        sources = {} if source is None else dict(sources_by_name(source))
        leading = sources.pop(next(iter(sources))) if sources else None
        if leading is not None:
            for name in (name for name in codec.other_sources if name not in sources):
                raise ConfigError(f'data: the codec needs "{name}" beside the leading data, as --data {name}=FILE.')
            codec.fit(leading)
            if sources:
                codec.fit_others(sources)
        family = self.family.build(codec.space, codec.condition)
        able = capabilities(family)
        if "sample" not in able:
            raise ConfigError(f"family.kind: {kind_of(self.family)} cannot sample, which a generator needs.")
        kind = _kind(codec, constrained(family, codec), able)
        generator = kind(codec, family, self, description, space=self.family.samples(codec.space))
        generator.decoder  # noqa: B018 - refuses here what it could not decode after the fit
        if leading is not None and codec.condition is not None and not isinstance(codec, DrawsConditions):
            generator.examples = example_rows(leading)
        return generator

    def augmentation(self, codec: Codec) -> Augmentation | None:
        """A random exact symmetry of the data, applied to training batches; None for none."""
        return None


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
        return self.draw_condition(noise) if self.examples is None else self.example_conditions(torch.arange(n))

    def example_conditions(self, index: Tensor) -> Tree | None:
        """Those of `examples`, in turn, for samples numbered by `index` (B,); None where conditions are drawn."""
        return map_tree(lambda rows: rows[index % len(rows)], self.examples)

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Draw `n` physical samples given physical conditions (by default drawn from those of training, if any)."""
        if condition is None:
            condition = self.draw_condition(noise.fold("condition"))
        with all_digits():  # units and tables need them, whatever the networks compute in
            decoder = self.decoder
            encoded = None if condition is None else decoder.encode_condition(condition)
        x = constrained(self.family, decoder).sample(n, encoded, noise=noise.fold("family"))
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
        return constrained(self.family, self.decoder).log_prob(encoded.x, encoded.condition) + volume


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
            return constrained(self.family, self.decoder).log_prob(encoded.x, encoded.condition) + volume
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
