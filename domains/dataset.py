"""Rows of a data file as a `Source`: subsets, their digest, and what of them is held in memory.

>>> from maquette.domains.calorimeter.dataset import ShowerDataset
>>> from maquette.domains.calorimeter.sample import sample_path
>>> data = ShowerDataset(sample_path())
>>> isinstance(data, FileDataset), len(data.rows(100, 200)), data.rows(100, 200).fetch(torch.tensor([0])).index
(True, 100, tensor([100]))
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.data import Batch
from ..data_specs.hdf5.digest import content_digest

MEMORY_BOUND = 4 * 2**30
"""Bytes up to which a data set is held in memory; larger ones are read batch by batch."""


class Block(Protocol):
    """Rows that a reader read and checked."""

    @property
    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Arrays (n, ...) by name."""
        ...


class Reader(Protocol):
    """Reads a domain's file, whoever wrote it; raises `DataError` naming the row that does not meet the spec."""

    path: Path

    @property
    def attributes(self) -> Mapping[str, str]:
        """The attributes of the file, as text."""
        ...

    @property
    def row_bytes(self) -> int:
        """Bytes of a row in memory."""
        ...

    def __len__(self) -> int: ...

    def blocks(self, start: int, stop: int) -> Iterator[Block]:
        """Rows start .. stop - 1, a block at a time."""
        ...

    def gather(self, index: NDArray[np.int64]) -> Block:
        """The rows at `index`, in that order."""
        ...

    def summary(self) -> Sequence[tuple[str, str]]:
        """Pairs (label, value with unit) to print."""
        ...


R = TypeVar("R", bound=Reader)


class FileDataset(ABC, Generic[R]):
    """Rows of a file; `fetch` numbers them as in the *file*, so that noise stays with its sample in any subset.

    A domain derives from it: `batch` makes batches of arrays, `description` says what the data are.

    Args:
        reader: of the file.
        memory: bytes that may be held in memory.
    """

    def __init__(self, reader: R, memory: int = MEMORY_BOUND) -> None:
        self.reader, self.memory = reader, memory
        self.start, self.stop = 0, len(reader)

    @property
    @abstractmethod
    def description(self) -> Mapping[str, Any]:
        """What a codec needs to know about the data, as plain JSON."""

    @abstractmethod
    def batch(self, arrays: Mapping[str, Tensor], index: Tensor) -> Batch:
        """The batch of some rows, given the reader's arrays of them and their numbers in the file."""

    @property
    def origin(self) -> Mapping[str, str]:
        """The attributes of the file, as text."""
        return self.reader.attributes

    def __len__(self) -> int:
        return self.stop - self.start

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.reader.path.name}, {self.extra_repr()})"

    def extra_repr(self) -> str:
        """What `repr` says besides the file."""
        return f"rows {self.start} .. {self.stop - 1}"

    def rows(self, start: int, stop: int) -> Self:
        """The rows start .. stop - 1 of this data set."""
        part = copy(self)
        for cached in ("_in_memory", "digest"):
            vars(part).pop(cached, None)
        part.start, part.stop = self.start + start, min(self.start + stop, self.stop)
        return part

    def fetch(self, index: Tensor) -> Batch:
        """Return the rows at `index` (int64, 0 .. len - 1), in that order."""
        rows, held = index + self.start, self._in_memory
        if held is None:
            return self.batch(_tensors(self.reader.gather(rows.numpy()).arrays), rows)
        return self.batch({name: values[index] for name, values in held.items()}, rows)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content of these rows."""
        held = self._in_memory
        if held is None:
            return content_digest(block.arrays for block in self.reader.blocks(self.start, self.stop))
        return content_digest([{name: values.numpy() for name, values in held.items()}])

    def summary(self) -> Sequence[tuple[str, str]]:
        """Pairs (label, value with unit) to print."""
        rows = list(self.reader.summary())
        if len(self) < len(self.reader):
            rows.append(("rows", f"{self.start:,} .. {self.stop - 1:,}"))
        return rows

    @cached_property
    def _in_memory(self) -> dict[str, Tensor] | None:
        if len(self) * self.reader.row_bytes > self.memory:
            return None
        whole: dict[str, NDArray[Any]] = {}
        done = 0
        for block in self.reader.blocks(self.start, self.stop):
            for name, values in block.arrays.items():
                if name not in whole:
                    whole[name] = np.empty((len(self), *values.shape[1:]), values.dtype)
                whole[name][done : done + len(values)] = values
            done += len(next(iter(block.arrays.values())))
        return _tensors(whole)


def _tensors(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(values) for name, values in arrays.items()}
