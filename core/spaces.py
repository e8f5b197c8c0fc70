"""Spaces: frozen descriptions of one sample, which configs, artefacts and networks share.

A space holds no data. A *value* of a space is a batch. A vector, a field and a sequence of fixed length are one tensor
of shape `(B, *space.shape)`. A graph and a sequence of variable length are named tensors, padded to the largest size,
with the size of each sample beside them (`Space.shapes`). A `Product` is a dictionary of tensors under the names of its
parts, each of which is one tensor. `core/values.py` checks that a value belongs to a space.

>>> space = Field(channels=1, grid=(8, 8), periodic=(True, True))
>>> space.shape, size(space)
((1, 8, 8), 64)
>>> flatten(space, torch.zeros(5, 1, 8, 8)).shape
torch.Size([5, 64])
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal, Self

import torch
from pydantic import Field as Described
from pydantic import model_validator
from torch import Tensor

from .graph import Graph
from .part import Part, Tree
from .supports import Binary as Binary
from .supports import Complex as Complex
from .supports import Frozen, Levels, Real, Support
from .supports import Interval as Interval
from .supports import Torus as Torus


class Vector(Part):
    """`dim` scalars without order or neighbourhood.

    >>> Vector(dim=2) == Vector(dim=2, support=Real())
    True
    """

    kind: Literal["vector"] = "vector"
    dim: int = Described(ge=1)
    support: Support = Real()

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.dim,)


class Field(Part):
    """Channels on a regular grid of any dimension; each axis is periodic or not."""

    kind: Literal["field"] = "field"
    channels: int = Described(ge=1)
    grid: tuple[Annotated[int, Described(ge=1)], ...]
    periodic: tuple[bool, ...] = ()
    support: Support = Real()

    @model_validator(mode="after")
    def _one_per_axis(self) -> Self:
        if self.periodic and len(self.periodic) != len(self.grid):
            axes, said = len(self.grid), len(self.periodic)
            raise ValueError(f"periodic: expected one boolean for each of {axes} axes, or none at all, found {said}")
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.channels, *self.grid)


class Sequence(Part):
    """Tokens of a vocabulary, or real channels, along one ordered axis.

    A value is one tensor, (B, length) or (B, length, channels). If `variable`, each sample has a length of its own,
    from 0 on, and a value is `{"tokens": (B, length), "length": (B,)}` or `{"values": (B, length, channels), "length":
    (B,)}`. What lies beyond the length is zero. Flattened, tokens beyond the length are one level more, the end; values
    are followed by the length.

    >>> Sequence(length=5, vocabulary=27).shape, Sequence(length=5, channels=2).shape
    ((5,), (5, 2))
    >>> words = Sequence(length=3, vocabulary=4, variable=True)
    >>> flat = flatten(words, {"tokens": torch.tensor([[2, 1, 0], [0, 0, 0]]), "length": torch.tensor([2, 1])})
    >>> flat.tolist(), unflatten(words, flat)["length"].tolist()
    ([[2, 1, 4], [0, 4, 4]], [2, 1])
    """

    kind: Literal["sequence"] = "sequence"
    length: int = Described(ge=1)
    vocabulary: int | None = Described(default=None, ge=2)
    channels: int | None = Described(default=None, ge=1)
    variable: bool = False
    support: Support = Real()

    @property
    def _padded(self) -> tuple[int, ...]:
        return (self.length,) if self.channels is None else (self.length, self.channels)

    @property
    def name(self) -> str:
        """Name of the padded tensor of a variable sequence."""
        return "values" if self.vocabulary is None else "tokens"

    @property
    def end(self) -> int | None:
        """The level that stands for the end in flattened tokens; None for a sequence without one."""
        return self.vocabulary if self.variable else None

    @property
    def shape(self) -> tuple[int, ...]:
        return (math.prod(self._padded) + 1,) if self.variable and self.vocabulary is None else self._padded

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {self.name: self._padded, "length": ()} if self.variable else {"": self.shape}

    def within(self, length: Tensor) -> Tensor:
        """Which positions lie within the lengths (B,), (B, length), bool."""
        return torch.arange(self.length, device=length.device) < length[:, None]

    def flatten(self, value: Tree) -> Tensor:
        if isinstance(value, Tensor):
            return super().flatten(value)
        padded, length = value[self.name], value["length"]
        if self.end is None:
            return torch.cat((padded.flatten(1), length[:, None]), dim=1)
        return torch.where(self.within(length), padded, self.end)

    def unflatten(self, flat: Tensor) -> Tree:
        if not self.variable:
            return super().unflatten(flat)
        if self.end is None:
            return {self.name: flat[:, :-1].unflatten(1, self._padded), "length": flat[:, -1].long()}
        within = (flat == self.end).cumsum(1) == 0
        return {self.name: torch.where(within, flat, 0), "length": within.sum(1)}


Simple = Vector | Field | Sequence | Graph


class Product(Frozen):
    """Several named spaces together; a value is a dictionary of tensors.

    >>> space = Product(parts={"energy": Vector(dim=1), "image": Field(channels=1, grid=(2, 2))})
    >>> flatten(space, {"energy": torch.zeros(3, 1), "image": torch.ones(3, 1, 2, 2)})[0]
    tensor([0., 1., 1., 1., 1.])
    """

    kind: Literal["product"] = "product"
    parts: dict[str, Annotated[Vector | Field | Sequence | Graph, Described(discriminator="kind")]] = Described(
        min_length=1
    )

    @model_validator(mode="after")
    def _one_tensor_each(self) -> Self:
        for name, part in self.parts.items():
            if list(part.shapes) != [""]:
                what = "a graph" if isinstance(part, Graph) else "a sequence of variable length"
                raise ValueError(
                    f'part "{name}": expected a space whose value is one tensor, found {what}, whose value is the '
                    f"tensors {list(part.shapes)}; make each of them a part of its own"
                )
        return self


Space = Annotated[Vector | Field | Sequence | Graph | Product, Described(discriminator="kind")]


def support_of(part: Simple) -> Support:
    """Support of a simple space; tokens of a vocabulary are integer levels, and so are the nodes of a graph.

    >>> support_of(Sequence(length=5, vocabulary=27))
    Levels(kind='levels', count=27)
    """
    if isinstance(part, Graph):
        return Levels(count=part.node_types)
    if isinstance(part, Sequence) and part.vocabulary is not None:
        return Levels(count=part.vocabulary)
    return part.support


def size(space: Space) -> int:
    """Number of scalars in one flattened sample."""
    if isinstance(space, Product):
        return sum(size(part) for part in space.parts.values())
    return math.prod(space.shape)


def flatten(space: Space, value: Tree) -> Tensor:
    """A batch as `(B, size(space))`, the parts of a product in the order in which the space names them."""
    if not isinstance(space, Product):
        return space.flatten(value)
    assert not isinstance(value, Tensor)
    flat = [part.flatten(value[name]) for name, part in space.parts.items()]
    return flat[0] if len(flat) == 1 else torch.cat(flat, dim=1)


def unflatten(space: Space, flat: Tensor) -> Tree:
    """Inverse of `flatten`: `(B, size(space))` back to a value of the space.

    >>> unflatten(Field(channels=1, grid=(2, 2)), torch.zeros(3, 4)).shape
    torch.Size([3, 1, 2, 2])
    """
    if not isinstance(space, Product):
        return space.unflatten(flat)
    sizes = [size(part) for part in space.parts.values()]
    pieces = flat.split(sizes, dim=1)
    return {
        name: piece.unflatten(1, part.shape) for (name, part), piece in zip(space.parts.items(), pieces, strict=True)
    }


CONDITION = "condition"
"""Name of a condition that is one tensor, once it is joined with named parts."""


def as_parts(space: Space | None, name: str = CONDITION) -> dict[str, Simple]:
    """The named parts of a space: those of a product, `name` alone for any other space, none for None.

    >>> as_parts(Vector(dim=2))
    {'condition': Vector(kind='vector', dim=2, support=Real(kind='real'))}
    >>> as_parts(None)
    {}
    """
    if space is None:
        return {}
    return dict(space.parts) if isinstance(space, Product) else {name: space}


def from_parts(parts: Mapping[str, Simple]) -> Space:
    """The space of some named parts: of one part that part itself, of several their product.

    >>> from_parts(as_parts(Vector(dim=2)) | {"codes": Vector(dim=3)}).kind
    'product'
    """
    return next(iter(parts.values())) if len(parts) == 1 else Product(parts=dict(parts))


def named(value: Tree | None, name: str = CONDITION) -> dict[str, Tensor]:
    """The named tensors of a value, as `as_parts` names the parts of its space.

    >>> named(torch.zeros(4, 2), "x")["x"].shape
    torch.Size([4, 2])
    """
    if value is None:
        return {}
    return {name: value} if isinstance(value, Tensor) else dict(value)


def from_named(tensors: Mapping[str, Tensor]) -> Tree:
    """The value of some named tensors, one of the space that `from_parts` makes of their parts.

    >>> from_named({"x": torch.zeros(4, 2)}).shape
    torch.Size([4, 2])
    """
    return next(iter(tensors.values())) if len(tensors) == 1 else dict(tensors)


def batch_size(value: Tree) -> int:
    """Number of samples in a batch.

    >>> batch_size({"a": torch.zeros(3, 1), "b": torch.zeros(3, 2)})
    3
    """
    first = value if isinstance(value, Tensor) else next(iter(value.values()))
    return first.shape[0]  # len() would make the batch size of an exported graph a constant
