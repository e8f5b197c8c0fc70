"""Whether values belong to a space: their tensors and shapes, and, where that is asked, every scalar of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .errors import SpaceError
from .spaces import Graph, Levels, Product, Sequence, Space, Support, Tree, support_of
from .supports import outside


def check(space: Space, value: Tree, *, what: str = "value") -> None:
    """Raise `SpaceError` unless `value` has the tensors and shapes that `space` describes; reads no values.

    >>> from maquette.core.spaces import Vector
    >>> check(Vector(dim=2), torch.zeros(3, 4))
    Traceback (most recent call last):
    maquette.core.errors.SpaceError: value: expected shape (B, *(2,)), found (3, 4).
    """
    shapes = _shapes(space)
    if "" in shapes:
        if not isinstance(value, Tensor):
            raise SpaceError(f"{what}: expected a tensor of shape (B, {', '.join(map(str, shapes['']))}).")
        _check_shape(shapes[""], value, what)
        return
    if not isinstance(value, Mapping):
        raise SpaceError(f"{what}: expected named tensors {sorted(shapes)}, found one tensor.")
    if set(value) != set(shapes):
        raise SpaceError(f"{what}: expected the parts {sorted(shapes)}, found {sorted(value)}.")
    for name, shape in shapes.items():
        _check_shape(shape, value[name], f"{what}.{name}")


def _shapes(space: Space) -> dict[str, tuple[int, ...]]:
    return {name: part.shape for name, part in space.parts.items()} if isinstance(space, Product) else space.shapes


def _check_shape(shape: tuple[int, ...], value: Tensor, what: str) -> None:
    if tuple(value.shape[1:]) != shape or not value.ndim:
        raise SpaceError(f"{what}: expected shape (B, *{shape}), found {tuple(value.shape)}.")


def check_values(space: Space, value: Tree, *, what: str = "value") -> None:
    """Raise `SpaceError` unless `value` belongs to `space`; reads all values.

    Every scalar lies in its support, sizes are possible, what lies beyond them is zero, and edges are symmetric and
    join two nodes. A network would score other values without an error, and the score would mean nothing.

    >>> from maquette.core.spaces import Binary, Vector
    >>> check_values(Vector(dim=2, support=Binary()), torch.tensor([[1.0, 0.5]]))
    Traceback (most recent call last):
    maquette.core.errors.SpaceError: value: expected zeros and ones, found 0.5 among values from 0.5 to 1.
    """
    check(space, value, what=what)
    if isinstance(space, Product):
        assert not isinstance(value, Tensor)
        for name, part in space.parts.items():
            check_values(part, value[name], what=f"{what}.{name}")
    elif isinstance(value, Tensor):
        assert not isinstance(space, Graph)
        _check_support(support_of(space), value, what)
    elif isinstance(space, Graph):
        _check_graph(space, value, what)
    else:
        assert isinstance(space, Sequence)
        _check_sequence(space, value, what)


def _check_support(support: Support, value: Tensor, what: str) -> None:
    infinite = int((~value.isfinite()).sum())
    if infinite:
        raise SpaceError(f"{what}: expected finite values, found {infinite} of {value.numel()} that are not.")
    expected, beyond = outside(support, value)
    if beyond.any():
        found = f"{value[beyond][0].item():g} among values from {value.min().item():g} to {value.max().item():g}"
        raise SpaceError(f"{what}: expected {expected}, found {found}.")


def _check_sequence(space: Sequence, value: Mapping[str, Tensor], what: str) -> None:
    padded, length = value[space.name], value["length"]
    _check_support(support_of(space), padded, f"{what}.{space.name}")
    _check_support(Levels(count=space.length + 1), length, f"{what}.length")
    _check_zero(padded, ~space.within(length), f"{what}.{space.name}", "beyond the length")


def _check_graph(space: Graph, value: Mapping[str, Tensor], what: str) -> None:
    nodes, edges, count = value["nodes"], value["edges"], value["count"]
    _check_support(Levels(count=space.node_types), nodes, f"{what}.nodes")
    _check_support(Levels(count=space.edge_types + 1), edges, f"{what}.edges")
    _check_support(Levels(count=space.max_nodes + 1), count, f"{what}.count")
    absent = torch.arange(space.max_nodes, device=count.device) >= count[:, None]
    _check_zero(nodes, absent, f"{what}.nodes", "beyond the count")
    _check_zero(edges, absent[:, :, None] | absent[:, None, :], f"{what}.edges", "beyond the count")
    loops = torch.eye(space.max_nodes, dtype=torch.bool, device=edges.device)[None]
    _check_zero(edges, loops, f"{what}.edges", "on the diagonal")
    uneven = (edges != edges.mT).nonzero()
    if len(uneven):
        sample, i, j = uneven[0].tolist()
        there, back = edges[sample, i, j].item(), edges[sample, j, i].item()
        raise SpaceError(
            f"{what}.edges: expected symmetric edges, found {there:g} from node {i} to {j} of sample {sample} "
            f"and {back:g} back."
        )


def _check_zero(value: Tensor, where: Tensor, what: str, place: str) -> None:
    """Values (B, ...) are zero where a mask of their first axes says so."""
    mask = where.reshape(*where.shape, *(1,) * (value.ndim - where.ndim))
    wrong = value.masked_fill(~mask, 0).nonzero()
    if len(wrong):
        sample, *place_in_sample = wrong[0].tolist()
        found = value[tuple(wrong[0])].item()
        raise SpaceError(f"{what}: expected zeros {place}, found {found:g} at {place_in_sample} of sample {sample}.")
