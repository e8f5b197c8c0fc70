"""Codecs: maps between physical quantities and the values of a space that a family models.

A codec for tables of two columns with one condition, both divided by their standard deviations, and its config:

>>> import torch
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

What it encodes it decodes again:

>>> data = TensorSource(torch.randn(50, 2), torch.randn(50, 1))
>>> codec = ScaledConfig().build({})
>>> codec.fit(data)
>>> batch = data.fetch(torch.arange(3))
>>> encoded = codec.encode(batch, KeyedNoise(0, batch.index))
>>> torch.allclose(codec.decode(encoded.x, batch.condition), batch.x)
True
>>> isinstance(codec, Codec), isinstance(codec, DrawsConditions), codec.constraint() is None
(True, True, True)

A codec whose samples must satisfy something says so by `constraint`, and its generator draws nothing else:

>>> from maquette.core.families.autoregressive.fvsbn import FVSBNConfig
>>> from maquette.core.inference.constrained import Prefix
>>> from maquette.core.spaces import Binary
>>> class OneFirst(Scaled):
...     def constraint(self):
...         return Prefix(torch.ones(5, 1, dtype=torch.int64), 2)
>>> model = constrained(FVSBNConfig().build(Vector(dim=3, support=Binary())), OneFirst())
>>> model.sample(5, noise=KeyedNoise(0, torch.arange(5)))[:, 0].tolist()
[1.0, 1.0, 1.0, 1.0, 1.0]
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn

from ..core.config import Config
from ..core.constraint import Constraint
from ..core.data import Batch, Source
from ..core.errors import ConfigError
from ..core.inference.constrained import Constrained
from ..core.noise import Noise
from ..core.spaces import Space, Tree
from .disagreement import Disagreement, relative_difference

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

    other_sources: ClassVar[tuple[str, ...]] = ()
    """Names of the training data that `fit_others` needs."""

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

    def constraint(self) -> Constraint | None:
        """What the levels of encoded samples must satisfy while they are drawn, such as valences; None for nothing.

        It is asked for at every draw, so it may read what was fitted. Only families that draw levels feature by feature
        can keep one.
        """
        return None

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


def constrained(family: Any, codec: Codec) -> Any:
    """The family's model under the constraint of a codec, if that has one; it shares the weights.

    Raises:
        ConfigError: a model that cannot keep a constraint.
    """
    constraint = codec.constraint()
    return family if constraint is None else Constrained(family, constraint)


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
        raise ConfigError("the codec of these data has one size only; samples of another one were asked for.")
