"""How samples reach a model: a `Source` returns the `Batch` at given global indices.

>>> source = TensorSource(torch.arange(10.0)[:, None])
>>> batch = Subset(source, torch.tensor([7, 8, 9])).fetch(torch.tensor([2, 0]))
>>> batch.x[:, 0].tolist(), batch.index.tolist()
([9.0, 7.0], [9, 7])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, overload

import torch
from torch import Tensor

from .dtypes import move
from .spaces import Tree, batch_size


@overload
def map_tree(function: Callable[[Tensor], Tensor], value: Tree) -> Tree: ...
@overload
def map_tree(function: Callable[[Tensor], Tensor], value: None) -> None: ...
@overload
def map_tree(function: Callable[[Tensor], Tensor], value: Tree | None) -> Tree | None: ...
def map_tree(function: Callable[[Tensor], Tensor], value: Tree | None) -> Tree | None:
    """Apply a function to the tensor, or to each of the named tensors; None, no condition, stays None.

    >>> map_tree(torch.neg, {"x": torch.tensor([1.0])})
    {'x': tensor([-1.])}
    >>> map_tree(torch.neg, None) is None
    True
    """
    if value is None:
        return None
    if isinstance(value, Tensor):
        return function(value)
    return {name: function(part) for name, part in value.items()}


@dataclass(frozen=True)
class Batch:
    """Samples, their conditions, and their global indices, by which noise is keyed.

    Attributes:
        x: the samples.
        condition: their conditions.
        index: their global indices, int64 of shape (B,).
        place: their positions in the global batch of a step of training, int64 of shape (B,); None elsewhere. State
            that outlives a step (persistent chains, pools of images) has its slots there.
        name: of the source that the samples are of, in a fit of several; "" elsewhere.
        source_row: the rows of another file that they belong to, int64 of shape (B,), such as those of the measurements
            that reconstructions were drawn for; None for samples that belong to none.
        others: as many samples of each of the other sources that a player reads, by name.

    >>> batch = Batch(x=torch.tensor([[2.0], [3.0]]), condition=None, index=torch.tensor([7, 9]))
    >>> len(batch), batch.map(torch.neg).x.tolist(), batch.to("cpu", torch.float64).x.dtype
    (2, [[-2.0], [-3.0]], torch.float64)
    """

    x: Tree
    condition: Tree | None
    index: Tensor
    place: Tensor | None = field(default=None, repr=False)
    name: str = field(default="", repr=False)
    source_row: Tensor | None = field(default=None, repr=False)
    others: Mapping[str, Batch] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return batch_size(self.x)

    def map(self, function: Callable[[Tensor], Tensor], address: Callable[[Tensor], Tensor] | None = None) -> Batch:
        """Apply a function to every data tensor, and another one, if given, to index, place and source row."""
        others = {name: other.map(function, address) for name, other in self.others.items()}
        x, condition = map_tree(function, self.x), map_tree(function, self.condition)
        mapped = replace(self, x=x, condition=condition, others=others)
        if address is None:
            return mapped
        place, source_row = map_tree(address, self.place), map_tree(address, self.source_row)
        return replace(mapped, index=address(self.index), place=place, source_row=source_row)

    def take(self, rows: slice | Tensor) -> Batch:
        """The samples at some positions of the batch, with their conditions and indices.

        >>> Batch(x=torch.tensor([[2.0], [3.0]]), condition=None, index=torch.tensor([7, 9])).take(slice(1, None))
        Batch(x=tensor([[3.]]), condition=None, index=tensor([9]))
        """
        return self.map(lambda tensor: tensor[rows], lambda tensor: tensor[rows])

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None, *, non_blocking: bool = False) -> Batch:
        """Move to a device; real and complex tensors also to the precision of `dtype`."""
        return self.map(
            lambda tensor: move(tensor, device, dtype, non_blocking=non_blocking),
            lambda tensor: tensor.to(device, non_blocking=non_blocking),
        )


class Source(Protocol):
    """A data set that is read by global index."""

    def __len__(self) -> int: ...

    def fetch(self, index: Tensor) -> Batch:
        """Return the samples at `index` (int64, on the CPU), in that order."""
        ...


@dataclass(frozen=True)
class TensorSource:
    """A source held in memory."""

    x: Tree
    condition: Tree | None = None

    def __len__(self) -> int:
        return batch_size(self.x)

    def fetch(self, index: Tensor) -> Batch:
        return Batch(self.x, self.condition, index).map(lambda tensor: tensor[index])


@dataclass(frozen=True)
class Subset:
    """The samples of a source at the given global indices. Batches keep those indices, so noise does not change."""

    source: Source
    index: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def fetch(self, index: Tensor) -> Batch:
        return self.source.fetch(self.index[index])
