"""Writes shower files of any size: a kill loses at most one block, and readers only find complete files.

Blocks are small files in the folder `FILE.partial`, each written completely and then renamed. After the last shower
they are concatenated, by compressed chunks, and the result is renamed to `FILE`. The bytes of `FILE` depend on content
and settings only: an interrupted and resumed run ends with the same file.
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
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DataError
from .conditions import CONDITIONS, DTYPES
from .geometries import NAMES, known_geometry
from .geometry import Geometry
from .geometry_json import geometry_to_json

CHUNK_BYTES = 2**20
CHUNKS_PER_BLOCK = 4
Value = str | int | float


class ShowerWriter:
    """Appends showers to a file; resumes where a previous writer with the same settings was stopped.

    Args:
        path: the file to write; must not exist, unless a writer with the same settings finished it.
        geometry: of the showers.
        n: how many showers the file will hold.
        attributes: stored in the file (source, seed, ...); part of the settings, so without the time.
        chunk: showers per chunk of the file (about 1 MiB by default); four chunks make a block.
        compression: gzip level, 0 for none.

    Attributes:
        written: showers appended so far, including those of a resumed file.

    Raises:
        DataError: the file exists already, is being written by another process, or was begun with other settings.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, ShowerWriter(f"{folder}/x.h5", known_geometry("calogan"), 2) as w:
    ...     w.append(np.ones((2, 504)), {"energy": [[1000.0], [2000.0]]})
    ...     w
    ShowerWriter(x.h5, written 2 of 2 showers)
    """

    def __init__(
        self,
        path: str | Path,
        geometry: Geometry,
        n: int,
        attributes: Mapping[str, Value] | None = None,
        *,
        chunk: int | None = None,
        compression: int = 1,
    ) -> None:
        if n < 1:
            raise DataError(f"{path}: expected at least one shower to write, found n = {n}.")
        self.path, self.n, self._voxels = Path(path), n, geometry.n_voxels
        self._folder = self.path.with_name(self.path.name + ".partial")
        self._chunk = min(n, chunk or max(1, CHUNK_BYTES // (4 * geometry.n_voxels)))
        self._block = self._chunk * CHUNKS_PER_BLOCK
        self._compression = compression
        own = {"geometry": _geometry_attribute(geometry), "units": "MeV", "n": n}
        self._attributes = {**(attributes or {}), **own}
        text = json.dumps({**self._attributes, "chunk": self._chunk, "compression": compression}, sort_keys=True)
        self._settings = hashlib.sha256(text.encode()).hexdigest()
        self._buffer: dict[str, NDArray[Any]] = {}
        self._buffered = 0
        self._done = self._is_finished()
        self._lock = None if self._done else self._begin()
        self._blocks = 0 if self._done else self._count_blocks()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path.name}, written {self.written} of {self.n} showers)"

    @property
    def written(self) -> int:
        return self.n if self._done else min(self.n, self._blocks * self._block) + self._buffered

    def append(self, deposits: ArrayLike, conditions: Mapping[str, ArrayLike]) -> None:
        """Append showers (m, voxels) in MeV and their conditions, each (m, k).

        Raises:
            DataError: wrong shape, NaN, negative or too many; or the disk is full (complete blocks are kept).
        """
        rows = {"showers": np.asarray(deposits, np.float32)}
        for name, values in conditions.items():
            if name not in CONDITIONS:
                raise DataError(f'{self.path}: there is no condition "{name}"; a shower file has {list(CONDITIONS)}.')
            rows[CONDITIONS[name]] = np.asarray(values, DTYPES[name]).reshape(len(rows["showers"]), -1)
        self._check(rows)
        done, m = 0, len(rows["showers"])
        while done < m:
            if not self._buffer:
                self._buffer = {
                    name: np.empty((self._block, values.shape[1]), values.dtype) for name, values in rows.items()
                }
            count = min(m - done, self._block - self._buffered)
            for name, values in rows.items():
                self._buffer[name][self._buffered : self._buffered + count] = values[done : done + count]
            self._buffered, done = self._buffered + count, done + count
            if self._buffered == self._block or self.written == self.n:
                self._flush()

    def close(self) -> None:
        """Finish the file if all showers were appended; else keep the complete blocks for a later writer."""
        if not self._done and self._blocks * self._block >= self.n:
            self._assemble()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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
                    f"{self._folder}: was begun with other settings (number, geometry, seed or source); remove it, "
                    "or repeat the first settings to resume."
                )
            os.pwrite(lock, self._settings.encode(), 0)
        except BlockingIOError:
            os.close(lock)
            raise DataError(f"{self.path}: another process is writing it; wait for it to end.") from None
        except DataError:
            os.close(lock)
            raise
        return lock

    def _count_blocks(self) -> int:
        blocks = 0
        while self._block_file(blocks).exists():
            blocks += 1
        return blocks

    def _block_file(self, block: int) -> Path:
        return self._folder / f"{block:08d}.h5"

    def _check(self, rows: Mapping[str, NDArray[Any]]) -> None:
        deposits = rows["showers"]
        if deposits.ndim != 2 or deposits.shape[1] != self._voxels:
            raise DataError(f"{self.path}: expected showers of shape (m, {self._voxels}), found {deposits.shape}.")
        if CONDITIONS["energy"] not in rows:
            raise DataError(f"{self.path}: showers need their incident energy, found {sorted(rows)}.")
        if self.written + len(deposits) > self.n:
            raise DataError(f"{self.path}: holds {self.n} showers and has {self.written}; {len(deposits)} more came.")
        if self._buffer and {k: v.shape[1:] for k, v in rows.items()} != {
            k: v.shape[1:] for k, v in self._buffer.items()
        }:
            raise DataError(f"{self.path}: every append needs the same conditions, found {sorted(rows)}.")
        for name, values in rows.items():
            if name in ("showers", CONDITIONS["energy"]) and len(values):
                low, high = values.min(), values.max()
                if not (low >= 0 and np.isfinite(high)):  # a NaN is neither
                    row, column = np.argwhere(~((values >= 0) & np.isfinite(values)))[0]
                    raise DataError(
                        f"{self.path}: shower {self.written + row} has {values[row, column]:g} in {name} (column "
                        f"{column}); only finite, non-negative MeV are written."
                    )

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
            shape=(rows, like.shape[1]),
            maxshape=(None, like.shape[1]),
            dtype=like.dtype,
            chunks=(self._chunk, like.shape[1]),
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
            for row in range(0, len(part), self._chunk):
                mask, chunk = part.id.read_direct_chunk((row, 0))
                target.id.write_direct_chunk((first + row, 0), chunk, mask)

    def _failed(self, error: Exception) -> DataError:
        full = (isinstance(error, OSError) and error.errno == errno.ENOSPC) or "errno = 28" in str(error)
        reason = f"the disk is full ({error})" if full else str(error)
        kept = min(self.n, self._blocks * self._block)
        return DataError(
            f"{self.path}: cannot be written: {reason}. {kept} showers are kept in {self._folder}; "
            "solve this and repeat the command to resume from there."
        )


def _geometry_attribute(geometry: Geometry) -> str:
    if geometry.name in NAMES and geometry == known_geometry(geometry.name):
        return geometry.name
    return json.dumps(geometry_to_json(geometry))
