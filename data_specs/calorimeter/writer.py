"""Writes shower files of any size: a kill loses at most one block, and readers only find complete files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..closing import Closing
from ..errors import DataError
from ..hdf5.blocks import BlockWriter, Value, rows_per_chunk
from .conditions import CONDITIONS, DTYPES
from .geometries import NAMES, known_geometry
from .geometry import Geometry
from .geometry_json import geometry_to_json


class ShowerWriter(Closing):
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
        self.path, self.n, self._voxels = Path(path), n, geometry.n_voxels
        self._file = BlockWriter(
            path,
            n,
            {**(attributes or {}), "geometry": _geometry_attribute(geometry), "units": "MeV"},
            chunk=chunk or rows_per_chunk(4 * geometry.n_voxels),
            compression=compression,
            things="showers",
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path.name}, written {self.written} of {self.n} showers)"

    @property
    def written(self) -> int:
        return self._file.written

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
        self._file.append(rows)

    def close(self) -> None:
        """Finish the file if all showers were appended; else keep the complete blocks for a later writer."""
        self._file.close()

    def _check(self, rows: Mapping[str, NDArray[Any]]) -> None:
        deposits = rows["showers"]
        if deposits.ndim != 2 or deposits.shape[1] != self._voxels:
            raise DataError(f"{self.path}: expected showers of shape (m, {self._voxels}), found {deposits.shape}.")
        if CONDITIONS["energy"] not in rows:
            raise DataError(f"{self.path}: showers need their incident energy, found {sorted(rows)}.")
        for name, values in rows.items():
            if name in ("showers", CONDITIONS["energy"]) and len(values):
                low, high = values.min(), values.max()
                if not (low >= 0 and np.isfinite(high)):  # a NaN is neither
                    row, column = np.argwhere(~((values >= 0) & np.isfinite(values)))[0]
                    raise DataError(
                        f"{self.path}: shower {self.written + row} has {values[row, column]:g} in {name} (column "
                        f"{column}); only finite, non-negative MeV are written."
                    )


def _geometry_attribute(geometry: Geometry) -> str:
    if geometry.name in NAMES and geometry == known_geometry(geometry.name):
        return geometry.name
    return json.dumps(geometry_to_json(geometry))
