"""How models of plain vectors see samples and conditions: as rows of real numbers.

Families and networks that know nothing of grids or names work on `(B, width)` and `(B, context)`; this is the one
place where values of a space become such rows and rows become values again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .errors import ConfigError, SpaceError
from .noise import Noise
from .spaces import (
    Binary,
    Field,
    Interval,
    Levels,
    Product,
    Real,
    Simple,
    Space,
    Torus,
    Tree,
    Vector,
    batch_size,
    check,
    flatten,
    size,
    unflatten,
)


def parts(space: Space) -> Iterator[tuple[str, Simple]]:
    """The parts of a product by name; a simple space is its own only part, named ""."""
    yield from space.parts.items() if isinstance(space, Product) else [("", space)]


@dataclass(frozen=True)
class Layout:
    """Rows of a space and of its condition.

    Args:
        space: a Vector or Field of real support, or a Product of such.
        condition: the same, where supports may also be intervals, circles, zero/one or integer levels (which
            become one-hot columns); None for a model without condition.

    Raises:
        ConfigError: a space that cannot be laid out like this.
    """

    space: Space
    condition: Space | None = None

    def __post_init__(self) -> None:
        for name, part in parts(self.space):
            if not isinstance(part, Vector | Field) or not isinstance(part.support, Real):
                raise ConfigError(_refusal("samples", name, part, "a vector or field of real support"))
        for name, part in parts(self.condition) if self.condition is not None else ():
            if not isinstance(part, Vector | Field) or not isinstance(
                part.support, Real | Interval | Torus | Binary | Levels
            ):
                raise ConfigError(_refusal("conditions", name, part, "a vector or field of real or integer support"))

    @cached_property
    def width(self) -> int:
        """Numbers in a sample."""
        return size(self.space)

    @cached_property
    def context(self) -> int:
        """Numbers in a condition after integer levels were spread out; 0 without condition."""
        if self.condition is None:
            return 0
        return sum(
            size(part) * (part.support.count if isinstance(part.support, Levels) else 1)  # type: ignore[union-attr]
            for _, part in parts(self.condition)
        )

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

    def prior(self, n: int, noise: Noise) -> Tensor:
        """Standard normal rows `(n, width)` under the name "prior"; raises `SpaceError` if noise has other rows."""
        if noise.rows != n:
            raise SpaceError(f"noise: expected {n} rows, one per sample, found {noise.rows}.")
        return noise.normal("prior", (self.width,))


def _spread(part: Simple, value: Tensor) -> Tensor:
    if isinstance(part.support, Levels):  # type: ignore[union-attr]
        levels = torch.arange(part.support.count, device=value.device)  # type: ignore[union-attr]
        value = value.unsqueeze(-1) == levels
    return value.flatten(1)


def _refusal(what: str, name: str, part: Simple, expected: str) -> str:
    where = f'{what} "{name}"' if name else what
    support = getattr(part, "support", None)
    found = f"a {part.kind}" + (f" of {support.kind} support" if support is not None else "")
    return f"{where}: this model takes {expected}, found {found}; choose another family or encode them first."
