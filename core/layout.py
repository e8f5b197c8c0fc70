"""Samples as vectors of features `(B, features)`, and conditions as context.

Families and networks for vectors know nothing of grids or names. Only this module flattens values of a space for them,
and turns what they return into values of the space again. A condition that is a field on the grid of the samples stays
a field, because as features it would lose its neighbourhoods; all other conditions become features.
"""

from __future__ import annotations

import math
from collections.abc import ItemsView
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from .context import Context
from .errors import ConfigError, SpaceError
from .features import CONDITIONS, require_features
from .grids import require_alike
from .noise import Noise, require_batch_size
from .spaces import (
    Field,
    Levels,
    Product,
    Real,
    Sequence,
    Simple,
    Space,
    Support,
    Torus,
    Tree,
    as_parts,
    batch_size,
    flatten,
    size,
    support_of,
    unflatten,
)
from .values import check


def parts(space: Space) -> ItemsView[str, Simple]:
    """The parts of a product by name; a simple space is its own only part, named "".

    >>> from maquette.core.spaces import Vector
    >>> list(parts(Vector(dim=2)))
    [('', Vector(kind='vector', dim=2, support=Real(kind='real')))]
    """
    return as_parts(space, "").items()


@dataclass(frozen=True)
class Layout:
    """How samples are flattened to features and conditions embedded as context.

    Args:
        space: a vector, field or sequence of fixed length, or a product of such.
        condition: the same. In the context, integer levels become one-hot vectors, angles a cosine and a sine, of which
            fields on the grid of the samples have a channel each. None for a model without condition.
        supports: supports that a sample may have.
        variable: whether samples may be sequences of tokens of variable length, of which the end is one level more.

    Raises:
        ConfigError: a space that cannot be flattened, or of another support.

    >>> from maquette.core.spaces import Vector
    >>> layout = Layout(Field(channels=1, grid=(3, 2)), Vector(dim=1, support=Levels(count=3)))
    >>> layout.features, layout.context_features
    (6, 3)
    >>> layout.context(torch.tensor([[2], [0]]), like=torch.zeros(2, 6))
    Context(vector=tensor([[0., 0., 1.],
            [1., 0., 0.]]), fields=None)
    """

    space: Space
    condition: Space | None = None
    supports: tuple[type[Support], ...] = (Real,)
    variable: bool = False

    def __post_init__(self) -> None:
        for name, part in parts(self.space):
            require_features("samples", name, part, self.supports, variable=self.variable)
        for name, part in _condition_parts(self.condition):
            require_features("conditions", name, part, CONDITIONS)

    @cached_property
    def features(self) -> int:
        """D, scalars in a sample."""
        return size(self.space)

    @cached_property
    def grid(self) -> tuple[int, ...]:
        """The grid that all fields of a sample share; () if there are none, or several grids."""
        grids = {part.grid for _, part in parts(self.space) if isinstance(part, Field)}
        return grids.pop() if len(grids) == 1 else ()

    @cached_property
    def field_conditions(self) -> dict[str, Field]:
        """The conditions that are fields on the grid of the samples, by name ("" for the only one)."""
        return {
            name: part
            for name, part in _condition_parts(self.condition)
            if isinstance(part, Field) and part.grid and part.grid == self.grid
        }

    @cached_property
    def vector_features(self) -> int:
        """C, features of the context; 0 for none."""
        others = [part for name, part in _condition_parts(self.condition) if name not in self.field_conditions]
        return sum(size(part) * _embed_dim(support_of(part)) for part in others)

    @cached_property
    def field_channels(self) -> int:
        """K, channels of the context's fields; 0 for none."""
        return sum(part.channels * _embed_dim(support_of(part)) for part in self.field_conditions.values())

    @cached_property
    def context_features(self) -> int:
        """C, features of the context for a network that takes no fields; 0 without a condition.

        Raises:
            ConfigError: there are fields among the conditions.

        >>> field = Field(channels=1, grid=(8, 8))
        >>> Layout(field, field).context_features
        Traceback (most recent call last):
        maquette.core.errors.ConfigError: condition: it is a field on the grid of the samples, which this model does ...
        """
        for name in self.field_conditions:
            where = f'condition "{name}"' if name else "condition"
            raise ConfigError(
                f"{where}: it is a field on the grid of the samples, which this model does not take; choose a family "
                "that has a network for fields, or encode it as a vector first."
            )
        return self.vector_features

    @cached_property
    def support(self) -> Support:
        """The support that all parts of a sample share.

        Raises:
            ConfigError: parts of different supports.
        """
        supports = [support_of(part) for _, part in parts(self.space)]
        if any(support != supports[0] for support in supports):
            kinds = sorted({support.kind for support in supports})
            raise ConfigError(f"samples: this model takes parts of one support, found {kinds}; chain two families.")
        return supports[0]

    @property
    def end(self) -> int | None:
        """The level that ends a sequence of variable length; None for other samples."""
        return self.space.end if isinstance(self.space, Sequence) else None

    def flatten(self, x: Tree) -> Tensor:
        """Samples as `(B, features)`; raises `SpaceError`."""
        check(self.space, x, what="x")
        return flatten(self.space, x)

    def unflatten(self, flat: Tensor) -> Tree:
        """Inverse of `flatten`."""
        return unflatten(self.space, flat)

    def samples(self, flat: Tensor) -> Tree:
        """Flat draws (B, D) as samples: `unflatten`, with levels as integers and zeros and ones as floating numbers.

        >>> from maquette.core.spaces import Binary, Vector
        >>> on, kind = Vector(dim=1, support=Binary()), Vector(dim=1, support=Levels(count=3))
        >>> both = Layout(Product(parts={"on": on, "kind": kind}), supports=(Binary, Levels))
        >>> both.samples(torch.tensor([[1.0, 2.0]]))
        {'on': tensor([[1.]]), 'kind': tensor([[2]])}
        """
        value = self.unflatten(flat)
        if isinstance(value, Tensor):
            return _typed(support_of(next(iter(as_parts(self.space).values()))), value)
        if not isinstance(self.space, Product):
            return value  # tokens and their length
        return {name: _typed(support_of(part), value[name]) for name, part in self.space.parts.items()}

    def context(self, condition: Tree | None, like: Tensor) -> Context:
        """Conditions as context in the dtype of `like` (B, ...); empty for a model without condition.

        Raises:
            SpaceError: a condition for a model without one, none for a model with one, or not one row per sample.
        """
        if self.condition is None:
            if condition is not None:
                raise SpaceError("condition: the model was built without one; leave it out.")
            return Context()
        if condition is None:
            raise SpaceError("condition: the model was built with one; give one row per sample.")
        check(self.condition, condition, what="condition")
        if batch_size(condition) != like.shape[0]:
            raise SpaceError(
                f"condition: expected {like.shape[0]} rows, one per sample, found {batch_size(condition)}."
            )
        values = condition if isinstance(condition, dict) else {"": condition}
        vectors, fields = [], []
        for name, part in parts(self.condition):
            embedded = _embed(part, values[name]).to(like.dtype)
            if name in self.field_conditions:
                fields.append(embedded.movedim(-1, 2).flatten(1, 2))
            else:
                vectors.append(embedded.flatten(1))
        return Context(*(torch.cat(each, dim=1) if each else None for each in (vectors, fields)))

    def at(self, space: Space) -> Layout:
        """The layout of samples of another grid; conditions on the grid of the samples move to the new one.

        >>> small, large = Field(channels=1, grid=(8, 8)), Field(channels=1, grid=(16, 12))
        >>> Layout(small, small).at(large).condition.grid
        (16, 12)

        Raises:
            ConfigError: the spaces differ in more than the sides of their grids.
        """
        require_alike(self.space, space)
        moved = replace(self, space=space)
        resized = {
            name: part.model_copy(update={"grid": moved.grid}) if isinstance(part, Field) else part
            for name, part in self.field_conditions.items()
        }
        if not resized:
            return moved
        assert self.condition is not None
        if isinstance(self.condition, Product):
            return replace(moved, condition=Product(parts={**self.condition.parts, **resized}))
        return replace(moved, condition=resized[""])

    def prior(self, n: int, noise: Noise, distribution: Literal["normal", "uniform"] = "normal") -> Tensor:
        """Standard normal draws `(n, features)`, or uniform ones in (0, 1); reads the noise "prior".

        Raises:
            SpaceError: noise of another batch size than n.
        """
        require_batch_size(noise, n)
        draw = noise.normal if distribution == "normal" else noise.uniform
        return draw("prior", (self.features,))


def cast_like(x: Tensor, network: nn.Module) -> Tensor:
    """A tensor to pass as `like`: with the batch size of x (B, D), in the dtype of a network's weights.

    It is x itself if x has that dtype. Otherwise only the first feature is cast, because the values are not read.

    >>> cast_like(torch.zeros(5, 3, dtype=torch.int64), nn.Linear(3, 3)).dtype
    torch.float32
    """
    dtype = next(network.parameters()).dtype
    return x if x.dtype == dtype else x[:, :1].to(dtype)


def _typed(support: Support, value: Tensor) -> Tensor:
    """Levels as integers; zeros and ones that were drawn among levels as floating numbers."""
    if isinstance(support, Levels):
        return value.long()
    return value if value.is_floating_point() else value.to(torch.get_default_dtype())


def _condition_parts(condition: Space | None) -> list[tuple[str, Simple]]:
    return [] if condition is None else list(parts(condition))


def _embed_dim(support: Support) -> int:
    """Context features per scalar of a condition."""
    match support:
        case Levels(count=count):
            return count
        case Torus():
            return 2
        case _:
            return 1


def _embed(part: Simple, value: Tensor) -> Tensor:
    """The scalars of one part of a condition as context features, (*value.shape, F).

    Levels become one-hot vectors, angles their cosine and sine; other scalars stay as they are.
    """
    match support_of(part):
        case Levels(count=count):
            return value.unsqueeze(-1) == torch.arange(count, device=value.device)
        case Torus(period=period):
            angle = value * (2 * math.pi / period)
            return torch.stack((angle.cos(), angle.sin()), dim=-1)
        case _:
            return value.unsqueeze(-1)
