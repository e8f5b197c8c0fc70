"""Reads arrays of HDF5 files by rows; files may come from anywhere, so nothing in them is taken on trust.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     with h5py.File(f"{folder}/boxes.h5", "w") as target:
...         target["field"] = np.arange(6 * 8).reshape(6, 2, 2, 2)
...         target["theta"] = np.ones((6, 2), np.complex64)
...     with open_hdf5(f"{folder}/boxes.h5", "boxes") as file:
...         arrays = {name: StoredArray.of(file, name) for name in file}
...         n, chunk = common_length(arrays.values(), "boxes"), arrays["field"].rows_per_chunk
...         read = lambda start, stop: {name: array.read(start, stop) for name, array in arrays.items()}
...         print(n, gather(read, np.array([5, 0]), chunk)["field"][:, 0, 0, 0])
6 [40  0]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

BLOCK_BYTES = 32 * 2**20
"""Bytes of the blocks in which a file is walked through."""
LARGEST = 2**30
"""Most bytes of a row, and of a chunk: both are held in memory at once."""
READ_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError)
"""What h5py raises on damaged files."""
_UNCHUNKED = 1024  # rows read at once where a file has no chunks
_POSITIONS = 16  # runs of rows in a sample of a file


def open_hdf5(path: str | Path, things: str) -> h5py.File:
    """Open a file to read; raises `DataError` if there is none, or it is not HDF5, or truncated."""
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path}: expected a file of {things} (HDF5), found a folder.")
    if not path.exists():
        raise DataError(f"{path}: there is no such file.")
    try:
        if not h5py.is_hdf5(path):
            raise DataError(f"{path}: expected a file of {things}, but this is not HDF5 (or its header is damaged).")
        return h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path}: damaged or truncated HDF5 ({short_reason(error)}); copy or make it again.") from None


@dataclass(frozen=True)
class StoredArray:
    """One dataset of a file, whose first axis counts rows; made by `StoredArray.of`, which checks it.

    Attributes:
        dataset: of the open file.
        path: of the file.
        name: of the dataset.
    """

    dataset: h5py.Dataset
    path: Path
    name: str

    @classmethod
    def of(cls, file: h5py.File, name: str, *, kinds: str = "biufc") -> StoredArray:
        """The array of that name.

        Args:
            file: an open file.
            name: that of a dataset at its top.
            kinds: of numbers that are allowed, as in `numpy.dtype.kind`; never objects or text.

        Raises:
            DataError: a group, a link, other numbers, a scalar, data in other files, or rows or chunks over `LARGEST`.
        """
        path = Path(file.filename)
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise DataError(f"{path}: {name} is a link to another place; copy its data into the file.")
        item = file[name]
        if not isinstance(item, h5py.Dataset) or item.dtype.kind not in kinds:
            found = f"numbers of type {item.dtype}" if isinstance(item, h5py.Dataset) else "a group"
            expected = "numbers" if "c" in kinds else "real numbers"
            raise DataError(f"{path}: expected {name} to hold {expected}, found {found}.")
        if item.external is not None or item.is_virtual:
            raise DataError(f"{path}: the data of {name} are in other files; copy them into this one.")
        if not item.shape or 0 in item.shape[1:]:
            raise DataError(f"{path}: expected {name} of shape (n, ...), found {item.shape}.")
        array = cls(item, path, name)
        size = max(array.row_bytes, item.dtype.itemsize * math.prod(item.chunks or ()))
        if size > LARGEST:
            most = LARGEST >> 20
            raise DataError(f"{path}: a row or chunk of {name} takes {size >> 20} MiB; at most {most} are read.")
        return array

    def __len__(self) -> int:
        return self.dataset.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a row."""
        return self.dataset.shape[1:]

    @property
    def row_bytes(self) -> int:
        """Bytes of a row in the file's type."""
        return self.dataset.dtype.itemsize * math.prod(self.shape)

    @property
    def rows_per_chunk(self) -> int:
        """Rows that are best read at once."""
        return self.dataset.chunks[0] if self.dataset.chunks else _UNCHUNKED

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Rows start .. stop - 1; raises `DataError` naming the rows that are damaged."""
        try:
            return self.dataset[start:stop]
        except READ_ERRORS as error:
            low, high = self._damaged(start, stop)
            raise DataError(
                f"{self.path}: rows {low} .. {high - 1} of {self.name} cannot be read ({short_reason(error)}); the "
                "file is damaged: copy or make it again."
            ) from None

    def _damaged(self, start: int, stop: int) -> tuple[int, int]:
        """Narrow a failed read down to the first chunk that cannot be read."""
        step = self.dataset.chunks[0] if self.dataset.chunks else stop - start
        low = start
        while low < stop:
            high = min(stop, (low // step + 1) * step)
            try:
                self.dataset[low:high]
            except READ_ERRORS:
                return low, high
            low = high
        return start, stop


def common_length(arrays: Iterable[StoredArray], things: str) -> int:
    """The number of rows that all arrays have; raises `DataError` if they differ, or are none."""
    arrays = list(arrays)
    lengths = {array.name: len(array) for array in arrays}
    if len(set(lengths.values())) != 1:
        raise DataError(f"{arrays[0].path}: every dataset needs as many rows as the others, found {lengths} rows.")
    if (length := len(arrays[0])) == 0:
        raise DataError(f"{arrays[0].path}: has no {things}; at least one is needed.")
    return length


def text_attributes(file: h5py.File) -> dict[str, str]:
    """The attributes of a file, as text.

    >>> with h5py.File("in memory", "w", driver="core", backing_store=False) as file:
    ...     file.attrs.update({"units": "Mpc", "seed": 3})
    ...     text_attributes(file)
    {'seed': '3', 'units': 'Mpc'}
    """
    return {
        name: value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        for name, value in file.attrs.items()
    }


def ranges(start: int, stop: int, *, step: int, chunk: int) -> Iterator[tuple[int, int]]:
    """Rows start .. stop - 1 as ranges of up to `step` rows, a multiple of those in a chunk if it holds more.

    >>> list(ranges(0, 10, step=5, chunk=2))
    [(0, 4), (4, 8), (8, 10)]
    """
    step = max(1, step)
    step -= step % chunk if step > chunk else 0
    for low in range(start, stop, step):
        yield low, min(low + step, stop)


def gather(
    read: Callable[[int, int], Mapping[str, NDArray[Any]]], index: NDArray[np.int64], chunk: int
) -> dict[str, NDArray[Any]]:
    """The rows at `index`, in that order, by reading each chunk once.

    Args:
        read: returns arrays (stop - start, ...) by name, given (start, stop).
        index: row numbers, (n,).
        chunk: rows per chunk.
    """
    if not len(index):
        return {name: values[:0] for name, values in read(0, 1).items()}
    order = np.argsort(index, kind="stable")
    gathered: dict[str, NDArray[Any]] = {}
    for group in np.split(order, np.flatnonzero(np.diff(index[order] // chunk)) + 1):
        start, stop = int(index[group[0]]), int(index[group[-1]]) + 1
        for name, values in read(start, stop).items():
            if name not in gathered:
                gathered[name] = np.empty((len(index), *values.shape[1:]), values.dtype)
            gathered[name][group] = values[index[group] - start]
    return gathered


def evenly_spaced_ranges(length: int, rows: int) -> Sequence[tuple[int, int]]:
    """Up to `rows` rows of a file, as ranges (start, stop) at equal distances; all of them if there are no more.

    >>> evenly_spaced_ranges(5, 10), evenly_spaced_ranges(1000, 2)
    ([(0, 5)], [(0, 1), (999, 1000)])
    """
    if length <= rows:
        return [(0, length)]
    size = max(1, rows // _POSITIONS)
    starts = np.linspace(0, length - size, max(1, rows // size)).astype(np.int64)
    return [(int(start), int(start) + size) for start in starts]


def short_reason(error: BaseException) -> str:
    """What h5py's error says, in a few words.

    >>> short_reason(OSError("Unable to open file (truncated file: eof = 96)"))
    'truncated file: eof = 96'
    """
    text = str(error).split("\n")[0]
    if "filter returned failure" in text:
        return "checksum or compression of a chunk is wrong"
    inner = text[text.find("(") + 1 : text.rfind(")")] if "(" in text and text.endswith(")") else text
    return inner[:120] or type(error).__name__
