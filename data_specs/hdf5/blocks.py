"""Writes files of any size: a kill loses at most one block, and readers only find complete files.

Blocks are small files in the folder `FILE.partial`, each written completely and then renamed. After the last row they
are concatenated, by compressed chunks, and the result is renamed to `FILE`. The bytes of `FILE` depend on content and
settings only: an interrupted and resumed run ends with the same file.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..closing import Closing
from ..errors import DataError

CHUNK_BYTES = 2**20
CHUNKS_PER_BLOCK = 4
Value = str | int | float


def rows_per_chunk(row_bytes: int) -> int:
    """Rows in a chunk of about 1 MiB.

    >>> rows_per_chunk(4 * 504), rows_per_chunk(8 * 256**3)
    (520, 1)
    """
    return max(1, CHUNK_BYTES // row_bytes)


class BlockWriter(Closing):
    """Appends rows of named arrays to a file; resumes where a previous writer with the same settings was stopped.

    Arrays have any shape (n, ...) and any type of numbers: whole, real, complex or boolean. The first rows decide both.

    Args:
        path: the file to write; must not exist, unless a writer with the same settings finished it.
        n: how many rows the file will hold.
        attributes: stored in the file, with n; part of the settings, so without the time.
        chunk: rows per chunk of the file, such as `rows_per_chunk` says; four chunks make a block.
        compression: gzip level, 0 for none.
        things: what rows are called in messages.

    Attributes:
        written: rows appended so far, including those of a resumed file.

    Raises:
        DataError: the file exists already, is being written by another process, or was begun with other settings.

    >>> import tempfile
    >>> fields, theta = np.zeros((5, 4, 4, 4), np.complex64), np.ones((5, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with BlockWriter(f"{folder}/x.h5", 5, {"units": "Mpc"}, chunk=2, things="boxes") as writer:
    ...         writer.append({"field": fields, "theta": theta})
    ...     with h5py.File(f"{folder}/x.h5") as file:
    ...         print(writer, file["field"].shape, file["field"].chunks, file.attrs["units"])
    BlockWriter(x.h5, written 5 of 5 boxes) (5, 4, 4, 4) (2, 4, 4, 4) Mpc
    """

    def __init__(
        self,
        path: str | Path,
        n: int,
        attributes: Mapping[str, Value],
        *,
        chunk: int,
        compression: int = 1,
        things: str = "samples",
    ) -> None:
        self.path, self.n, self.things = Path(path), n, things
        if n < 1:
            raise DataError(f"{path}: expected one or more {things} to write, found n = {n}.")
        self._folder = self.path.with_name(self.path.name + ".partial")
        self._chunk, self._compression = min(n, chunk), compression
        self._block = self._chunk * CHUNKS_PER_BLOCK
        self._attributes = {**attributes, "n": n}
        text = json.dumps({**self._attributes, "chunk": self._chunk, "compression": compression}, sort_keys=True)
        self._settings = hashlib.sha256(text.encode()).hexdigest()
        self._buffer: dict[str, NDArray[Any]] = {}
        self._buffered = 0
        self._done = self._is_finished()
        self._lock = None if self._done else self._begin()
        self._blocks = 0 if self._done else self._count_blocks()
        self._layout = self._begun_layout()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path.name}, written {self.written} of {self.n} {self.things})"

    @property
    def written(self) -> int:
        return self.n if self._done else min(self.n, self._blocks * self._block) + self._buffered

    def append(self, rows: Mapping[str, ArrayLike]) -> None:
        """Append arrays (m, ...) by name.

        Raises:
            DataError: other arrays than before, or too many rows; or the disk is full (complete blocks are kept).
        """
        arrays = {name: np.asarray(values) for name, values in rows.items()}
        m = self._check(arrays)
        done = 0
        while done < m:
            if not self._buffer:
                self._buffer = {
                    name: np.empty((self._block, *values.shape[1:]), values.dtype) for name, values in arrays.items()
                }
            count = min(m - done, self._block - self._buffered)
            for name, values in arrays.items():
                self._buffer[name][self._buffered : self._buffered + count] = values[done : done + count]
            self._buffered, done = self._buffered + count, done + count
            if self._buffered == self._block or self.written == self.n:
                self._flush()

    def close(self) -> None:
        """Finish the file if all rows were appended; else keep the complete blocks for a later writer."""
        if not self._done and self._blocks * self._block >= self.n:
            self._assemble()
        self._release()

    def _is_finished(self) -> bool:
        if not self.path.exists():
            return False
        try:
            with h5py.File(self.path, "r") as file:
                same = file.attrs.get("settings") == self._settings
        except OSError:
            same = False
        if not same:
            raise DataError(f"{self.path}: exists already with other content; choose another name.")
        shutil.rmtree(self._folder, ignore_errors=True)
        return True

    def _begin(self) -> int:
        """Lock the folder of blocks, new or left by a writer with the same settings."""
        marker = self._folder / "settings"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(marker, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({error.strerror}).") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            begun = marker.read_text()
            if begun not in ("", self._settings):
                raise DataError(
                    f"{self._folder}: was begun with other settings (number, seed, source or other attributes); remove "
                    "it, or repeat the first settings to resume."
                )
            os.pwrite(lock, self._settings.encode(), 0)
        except BlockingIOError:
            os.close(lock)
            raise DataError(f"{self.path}: another process is writing it; wait for it to end.") from None
        except DataError:
            os.close(lock)
            raise
        return lock

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _count_blocks(self) -> int:
        blocks = 0
        while self._block_file(blocks).exists():
            blocks += 1
        return blocks

    def _begun_layout(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        """Shape and type of a row of each array in the first block; empty if there is none."""
        if not self._blocks:
            return {}
        try:
            with h5py.File(self._block_file(0), "r") as block:
                return _layout(dict(block))
        except OSError as error:
            self._release()
            raise DataError(f"{self._block_file(0)}: damaged ({error}); remove the folder to begin again.") from None

    def _block_file(self, block: int) -> Path:
        return self._folder / f"{block:08d}.h5"

    def _check(self, arrays: Mapping[str, NDArray[Any]]) -> int:
        """The number of rows; raises `DataError` unless they go with those before."""
        lengths = {name: len(values) if values.ndim else 0 for name, values in arrays.items()}
        if len(set(lengths.values())) != 1:
            raise DataError(f"{self.path}: expected arrays by name with as many rows each, found {lengths} rows.")
        for name, values in arrays.items():
            if values.dtype.kind not in "biufc" or 0 in values.shape[1:] or "/" in name:
                raise DataError(
                    f"{self.path}: expected {name} to hold numbers, one or more in each row, found {values.dtype} of "
                    f"shape {values.shape}."
                )
        m = next(iter(lengths.values()))
        if self.written + m > self.n:
            raise DataError(f"{self.path}: holds {self.n} {self.things} and has {self.written}; {m} more came.")
        layout = _layout(arrays)
        if self._layout and layout != self._layout:
            raise DataError(f"{self.path}: every append needs the same arrays, {self._layout}; found {layout}.")
        self._layout = layout
        return m

    def _flush(self) -> None:
        """Write the buffer as one block; it is built in memory, so that a full disk raises an ordinary `OSError`."""
        with h5py.File(f"{self._folder}/block", "w", driver="core", backing_store=False) as file:
            for name, values in self._buffer.items():
                self._create(file, name, self._buffered, values)[...] = values[: self._buffered]
            file.flush()
            image = file.id.get_file_image()
        target = self._block_file(self._blocks)
        temporary = target.with_suffix(".tmp")
        try:
            with temporary.open("wb") as stream:
                stream.write(image)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, target)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise self._failed(error) from None
        self._blocks, self._buffered = self._blocks + 1, 0

    def _create(self, file: h5py.File, name: str, rows: int, like: Any) -> h5py.Dataset:
        return file.create_dataset(
            name,
            shape=(rows, *like.shape[1:]),
            maxshape=(None, *like.shape[1:]),
            dtype=like.dtype,
            chunks=(self._chunk, *like.shape[1:]),
            compression=self._compression or None,
            shuffle=bool(self._compression),
            fletcher32=True,
        )

    def _assemble(self) -> None:
        files = [self._block_file(block) for block in range(self._blocks)]
        needed = sum(part.stat().st_size for part in files) + 2**16
        if (free := shutil.disk_usage(self._folder).free) < needed:
            raise self._failed(OSError(errno.ENOSPC, f"{needed >> 20} MiB needed, {free >> 20} MiB free"))
        whole = self._folder / "whole.h5"
        try:
            with h5py.File(whole, "w", libver=("v108", "latest")) as file:  # v108: attributes beyond 64 KiB
                file.attrs.update({**self._attributes, "settings": self._settings})
                for number, part in enumerate(files):
                    with h5py.File(part, "r") as block:
                        self._copy(block, file, number * self._block)
            descriptor = os.open(whole, os.O_RDWR)
            os.fsync(descriptor)
            os.close(descriptor)
            os.replace(whole, self.path)
        except (OSError, RuntimeError) as error:
            raise self._failed(error) from None
        self._done = True
        shutil.rmtree(self._folder, ignore_errors=True)

    def _copy(self, block: h5py.File, whole: h5py.File, first: int) -> None:
        """Append a block's chunks as they are on disk, compressed."""
        for name, part in block.items():
            target = whole[name] if name in whole else self._create(whole, name, self.n, part)
            rest = (0,) * (part.ndim - 1)
            for row in range(0, len(part), self._chunk):
                mask, chunk = part.id.read_direct_chunk((row, *rest))
                target.id.write_direct_chunk((first + row, *rest), chunk, mask)

    def _failed(self, error: Exception) -> DataError:
        full = (isinstance(error, OSError) and error.errno == errno.ENOSPC) or "errno = 28" in str(error)
        reason = f"the disk is full ({error})" if full else str(error)
        kept = min(self.n, self._blocks * self._block)
        return DataError(
            f"{self.path}: cannot be written: {reason}. {kept} {self.things} are kept in {self._folder}; "
            "solve this and repeat the command to resume from there."
        )


def _layout(arrays: Mapping[str, Any]) -> dict[str, tuple[tuple[int, ...], Any]]:
    """Shape and type of a row of each array."""
    return {name: (tuple(values.shape[1:]), values.dtype.str) for name, values in arrays.items()}
