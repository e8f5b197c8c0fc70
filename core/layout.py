"""How models of plain vectors see samples and conditions: as rows of real numbers.

Families and networks that know nothing of grids or names work on `(B, width)` and `(B, context)`; this is the one
place where values of a space become such rows and rows become values again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from .errors import ConfigError, SpaceError
from .noise import Noise, require_rows
from .spaces import (
    Binary,
    Field,
    Interval,
    Levels,
    Product,
    Real,
    Sequence,
    Simple,
    Space,
    Support,
    Torus,
    Tree,
    Vector,
    batch_size,
    check,
    flatten,
    size,
    support_of,
    unflatten,
)

CONDITIONS = (Real, Interval, Torus, Binary, Levels)
"""Supports that a condition's numbers may have."""


def parts(space: Space) -> Iterator[tuple[str, Simple]]:
    """The parts of a product by name; a simple space is its own only part, named ""."""
    yield from space.parts.items() if isinstance(space, Product) else [("", space)]


@dataclass(frozen=True)
class Layout:
    """Rows of a space and of its condition.

    Args:
        space: a vector, field or sequence of fixed length, or a product of such.
        condition: the same; integer levels become one-hot columns, angles a cosine and a sine. None for a model without
            condition.
        supports: where the numbers of a sample may live.

    Raises:
        ConfigError: a space that cannot be laid out like this.
    """

    space: Space
    condition: Space | None = None
    supports: tuple[type[Support], ...] = (Real,)

    def __post_init__(self) -> None:
        for name, part in parts(self.space):
            if not _laid_out(part, self.supports):
                raise ConfigError(_refusal("samples", name, part, self.supports))
        for name, part in parts(self.condition) if self.condition is not None else ():
            if not _laid_out(part, CONDITIONS):
                raise ConfigError(_refusal("conditions", name, part, CONDITIONS))

    @cached_property
    def width(self) -> int:
        """Numbers in a sample."""
        return size(self.space)

    @cached_property
    def context(self) -> int:
        """Columns of a condition; 0 without one."""
        if self.condition is None:
            return 0
        return sum(size(part) * _columns(support_of(part)) for _, part in parts(self.condition))

    @cached_property
    def support(self) -> Support:
        """Where all numbers of a sample live.

        Raises:
            ConfigError: parts of different supports.
        """
        supports = [support_of(part) for _, part in parts(self.space)]
        if any(support != supports[0] for support in supports):
            kinds = sorted({support.kind for support in supports})
            raise ConfigError(f"samples: this model takes parts of one support, found {kinds}; chain two families.")
        return supports[0]

    def rows(self, x: Tree) -> Tensor:
        """Samples as `(B, width)`; raises `SpaceError`."""
        check(self.space, x, what="x")
        return flatten(self.space, x)

    def value(self, rows: Tensor) -> Tree:
        """Inverse of `rows`."""
        return unflatten(self.space, rows)

    def columns(self, condition: Tree | None, like: Tensor) -> Tensor | None:
        """Conditions as `(B, context)` in the dtype of `like` (B, ...), None for a model without condition.

        Raises:
            SpaceError: a condition where there is none, none where there is one, or not one row per sample.
        """
        if self.condition is None:
            if condition is not None:
                raise SpaceError("condition: the model was built without one; leave it out.")
            return None
        if condition is None:
            raise SpaceError("condition: the model was built with one; give one row per sample.")
        check(self.condition, condition, what="condition")
        if batch_size(condition) != like.shape[0]:
            raise SpaceError(
                f"condition: expected {like.shape[0]} rows, one per sample, found {batch_size(condition)}."
            )
        values = condition if isinstance(condition, dict) else {"": condition}
        columns = [_spread(part, values[name]).to(like.dtype) for name, part in parts(self.condition)]
        return torch.cat(columns, dim=1)

    def prior(self, n: int, noise: Noise, law: Literal["normal", "uniform"] = "normal") -> Tensor:
        """Standard normal rows `(n, width)`, or uniform ones in (0, 1), under the name "prior".

        Raises:
            SpaceError: noise of other rows than n.
        """
        require_rows(noise, n)
        draw = noise.normal if law == "normal" else noise.uniform
        return draw("prior", (self.width,))


def as_weights(rows: Tensor, network: nn.Module) -> Tensor:
    """A tensor of the batch (B, ...) in the dtype of a network's weights; integer rows have no floating one."""
    dtype = next(network.parameters()).dtype
    return rows if rows.dtype == dtype else rows[:, :1].to(dtype)


def _laid_out(part: Simple, supports: tuple[type[Support], ...]) -> bool:
    fixed = isinstance(part, Vector | Field) or (isinstance(part, Sequence) and not part.variable)
    return fixed and isinstance(support_of(part), supports)


def _columns(support: Support) -> int:
    """How many columns a number of a condition takes."""
    match support:
        case Levels(count=count):
            return count
        case Torus():
            return 2
        case _:
            return 1


def _spread(part: Simple, value: Tensor) -> Tensor:
    """A condition's numbers as columns (B, ...) in which those that mean the same look the same."""
    match support_of(part):
        case Levels(count=count):
            value = value.unsqueeze(-1) == torch.arange(count, device=value.device)
        case Torus(period=period):
            angle = value * (2 * math.pi / period)
            value = torch.stack((angle.cos(), angle.sin()), dim=-1)
    return value.flatten(1)


def _refusal(what: str, name: str, part: Simple, supports: tuple[type[Support], ...]) -> str:
    where = f'{what} "{name}"' if name else what
    kinds = [support.model_fields["kind"].default for support in supports]
    expected = f"a vector, field or sequence of {' or '.join(kinds)} support"
    length = "variable length and " if isinstance(part, Sequence) and part.variable else ""
    found = f"a {part.kind} of {length}{support_of(part).kind} support"
    return f"{where}: this model takes {expected}, found {found}; choose another family or encode them first."
