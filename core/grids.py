"""Spaces on other grids: as many axes and channels, other sides."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import ConfigError
from .spaces import Field, Product, Simple, Space, as_parts


def with_grid(space: Space, grid: Sequence[int]) -> Space:
    """The space with its fields on another grid; parts that are no fields stay as they are.

    Args:
        space: a field, or a product whose fields share one grid.
        grid: the sides, one for each axis.

    Raises:
        ConfigError: no fields, fields of several grids, or another number of axes.

    >>> with_grid(Field(channels=1, grid=(4, 4), periodic=(True, True)), (8, 4)).grid
    (8, 4)
    """
    parts = as_parts(space, "")
    grids = {part.grid for part in parts.values() if isinstance(part, Field)}
    sides = ",".join(map(str, grid))
    if len(grids) != 1:
        found = f"fields on {len(grids)} grids" if grids else f"a {space.kind} without fields"
        raise ConfigError(f"size {sides}: expected samples that are fields on one grid, found {found}.")
    (old,) = grids
    if len(old) != len(grid) or any(side < 1 for side in grid):
        raise ConfigError(f"size {sides}: expected a side of at least one for each axis of {list(old)}.")
    moved = {
        name: part.model_copy(update={"grid": tuple(grid)}) if isinstance(part, Field) else part
        for name, part in parts.items()
    }
    return Product(parts=moved) if isinstance(space, Product) else moved[""]


def require_alike(space: Space, other: Space) -> None:
    """Raise `ConfigError` unless two spaces differ at most in the sides of their grids.

    >>> require_alike(Field(channels=1, grid=(4,)), Field(channels=1, grid=(6,)))
    """

    def without_sides(part: Simple) -> Simple:
        return part.model_copy(update={"grid": (1,) * len(part.grid)}) if isinstance(part, Field) else part

    mine, theirs = ({name: without_sides(part) for name, part in as_parts(each, "").items()} for each in (space, other))
    if mine != theirs:
        raise ConfigError(f"at: expected {space!r} with other sides of its grids, found {other!r}.")
