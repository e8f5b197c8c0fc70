"""Spaces: frozen descriptions of one sample, which configs, artefacts and networks share.

A space holds no data. A *value* of a space is a batch: one tensor of shape `(B, *space.shape)`, or, for a
`Product`, a dictionary of such tensors under the names of its parts.

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
from pydantic import BaseModel, ConfigDict, model_validator
from pydantic import Field as Described
from torch import Tensor

from .errors import SpaceError

Tree = Tensor | dict[str, Tensor]
"""A batch of samples: one tensor, or named tensors (a value of a `Product`), leading axis B."""


_ROUNDING = torch.finfo(torch.float32).eps  # most data were float32 once, whatever they are converted to


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


# --- supports: the values that a scalar can take ----------------------------------------------------


class Real(_Frozen):
    """The whole real line."""

    kind: Literal["real"] = "real"


class Complex(_Frozen):
    """The complex plane; tensors are complex.

    >>> check_values(Vector(dim=1, support=Complex()), torch.tensor([[1 + 2j]]))
    """

    kind: Literal["complex"] = "complex"


class Interval(_Frozen):
    """The closed interval [low, high]."""

    kind: Literal["interval"] = "interval"
    low: float = Described(default=0.0, allow_inf_nan=False)
    high: float = Described(default=1.0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low < self.high:
            raise ValueError(
                f"expected an interval whose low end lies below the high one, found [{self.low}, {self.high}]"
            )
        return self


class Torus(_Frozen):
    """A circle of the given period: x and x + period are the same point."""

    kind: Literal["torus"] = "torus"
    period: float = Described(default=2 * math.pi, gt=0, allow_inf_nan=False)


class Levels(_Frozen):
    """The integers 0 .. count - 1."""

    kind: Literal["levels"] = "levels"
    count: int = Described(ge=2)


class Binary(_Frozen):
    """Zero or one."""

    kind: Literal["binary"] = "binary"


class Simplex(_Frozen):
    """Non-negative values along the last axis that sum to one.

    >>> check_values(Vector(dim=3, support=Simplex()), torch.tensor([[0.1, 0.2, 0.7]]))
    """

    kind: Literal["simplex"] = "simplex"


Support = Annotated[Real | Complex | Interval | Torus | Levels | Binary | Simplex, Described(discriminator="kind")]


# --- spaces -----------------------------------------------------------------------------------------


class Vector(_Frozen):
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


class Field(_Frozen):
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


class Sequence(_Frozen):
    """Tokens of a vocabulary, or real channels, along one ordered axis; if `variable`, shorter sequences are padded.

    >>> Sequence(length=5, vocabulary=27).shape, Sequence(length=5, channels=2).shape
    ((5,), (5, 2))
    """

    kind: Literal["sequence"] = "sequence"
    length: int = Described(ge=1)
    vocabulary: int | None = Described(default=None, ge=2)
    channels: int | None = Described(default=None, ge=1)
    variable: bool = False
    support: Support = Real()

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.length,) if self.channels is None else (self.length, self.channels)


class Graph(_Frozen):
    """A graph of at most `max_nodes` typed nodes, with typed edges; its tensor holds node types, (B, max_nodes).

    >>> Graph(node_types=4, edge_types=3, max_nodes=9).shape
    (9,)
    """

    kind: Literal["graph"] = "graph"
    node_types: int = Described(ge=1)
    edge_types: int = Described(ge=1)
    max_nodes: int = Described(ge=1)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.max_nodes,)


class Product(_Frozen):
    """Several named spaces together; a value is a dictionary of tensors.

    >>> space = Product(parts={"energy": Vector(dim=1), "image": Field(channels=1, grid=(2, 2))})
    >>> flatten(space, {"energy": torch.zeros(3, 1), "image": torch.ones(3, 1, 2, 2)})[0]
    tensor([0., 1., 1., 1., 1.])
    """

    kind: Literal["product"] = "product"
    parts: dict[str, Annotated[Vector | Field | Sequence | Graph, Described(discriminator="kind")]] = Described(
        min_length=1
    )


Simple = Vector | Field | Sequence | Graph
Space = Annotated[Vector | Field | Sequence | Graph | Product, Described(discriminator="kind")]


def support_of(part: Simple) -> Support:
    """Support of a simple space; tokens of a vocabulary are integer levels.

    >>> support_of(Sequence(length=5, vocabulary=27))
    Levels(kind='levels', count=27)
    """
    if isinstance(part, Graph):
        return Levels(count=part.node_types)
    if isinstance(part, Sequence) and part.vocabulary is not None:
        return Levels(count=part.vocabulary)
    return part.support


def size(space: Space) -> int:
    """Number of scalars in one sample."""
    if isinstance(space, Product):
        return sum(size(part) for part in space.parts.values())
    return math.prod(space.shape)


def flatten(space: Space, value: Tree) -> Tensor:
    """A batch as `(B, size(space))`, the parts of a product in the order in which the space names them."""
    tensors = named(value, "")
    flat = [tensors[name].flatten(1) for name in as_parts(space, "")]
    return flat[0] if len(flat) == 1 else torch.cat(flat, dim=1)


def unflatten(space: Space, flat: Tensor) -> Tree:
    """Inverse of `flatten`: `(B, size(space))` back to a value of the space.

    >>> unflatten(Field(channels=1, grid=(2, 2)), torch.zeros(3, 4)).shape
    torch.Size([3, 1, 2, 2])
    """
    if isinstance(space, Product):
        sizes = [size(part) for part in space.parts.values()]
        pieces = flat.split(sizes, dim=1)
        return {
            name: piece.unflatten(1, part.shape)
            for (name, part), piece in zip(space.parts.items(), pieces, strict=True)
        }
    return flat.unflatten(1, space.shape)


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


def check(space: Space, value: Tree, *, what: str = "value") -> None:
    """Raise `SpaceError` unless `value` has the shape and the parts that `space` describes; reads no values.

    >>> check(Vector(dim=2), torch.zeros(3, 4))
    Traceback (most recent call last):
    maquette.core.errors.SpaceError: value: expected shape (B, *(2,)), found (3, 4).
    """
    if isinstance(space, Product):
        if not isinstance(value, Mapping):
            raise SpaceError(f"{what}: expected named tensors {sorted(space.parts)}, found one tensor.")
        if set(value) != set(space.parts):
            raise SpaceError(f"{what}: expected the parts {sorted(space.parts)}, found {sorted(value)}.")
        for name, part in space.parts.items():
            check(part, value[name], what=f"{what}.{name}")
        return
    if not isinstance(value, Tensor):
        raise SpaceError(f"{what}: expected a tensor of shape (B, {', '.join(map(str, space.shape))}).")
    if tuple(value.shape[1:]) != space.shape:
        raise SpaceError(f"{what}: expected shape (B, *{space.shape}), found {tuple(value.shape)}.")


def check_values(space: Space, value: Tree, *, what: str = "value") -> None:
    """Raise `SpaceError` unless `value` belongs to `space` and every scalar lies in its support; reads all values.

    A network would score values outside of the support without an error, and the score would mean nothing.

    >>> check_values(Vector(dim=2, support=Binary()), torch.tensor([[1.0, 0.5]]))
    Traceback (most recent call last):
    maquette.core.errors.SpaceError: value: expected zeros and ones, found 0.5 among values from 0.5 to 1.
    """
    check(space, value, what=what)
    if isinstance(space, Product):
        for name, part in space.parts.items():
            check_values(part, named(value)[name], what=f"{what}.{name}")
        return
    assert isinstance(value, Tensor)  # `check` has made sure
    infinite = int((~value.isfinite()).sum())
    if infinite:
        raise SpaceError(f"{what}: expected finite values, found {infinite} of {value.numel()} that are not.")
    expected, outside = _outside(support_of(space), value)
    if outside.any():
        found = f"{value[outside][0].item():g} among values from {value.min().item():g} to {value.max().item():g}"
        raise SpaceError(f"{what}: expected {expected}, found {found}.")


def _outside(support: Support, value: Tensor) -> tuple[str, Tensor]:
    """What values must be, in words, and a mask of those that are not; a wrong sum marks all values of a simplex."""
    match support:
        case Levels(count=count):
            return f"integer levels 0 .. {count - 1}", (value < 0) | (value > count - 1) | (value != value.long())
        case Binary():
            return "zeros and ones", (value != 0) & (value != 1)
        case Interval(low=low, high=high):
            slack = 4 * _ROUNDING * max(abs(low), abs(high))
            return f"values in [{low:g}, {high:g}]", (value < low - slack) | (value > high + slack)
        case Simplex():
            total = value.sum(-1, keepdim=True)
            uneven = (total - 1).abs() > 4 * _ROUNDING * value.shape[-1]
            return "values from 0 on that sum to 1 along the last axis", (value < 0) | uneven
        case _:
            return "any", torch.zeros_like(value, dtype=torch.bool)
