"""The layouts of shower files: which datasets hold the deposits and the conditions.

CaloChallenge layout: `incident_energies` (n, 1) and `showers` (n, voxels), MeV; optionally `particle_types` (n, 1), PDG
numbers, and `angles` (n, k), radians. CaloGAN layout: `energy` (n, 1) and `layer_0`, `layer_1`, ... (n, rows, columns),
where the published files hold incident energies in GeV beside deposits in MeV.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..hdf5.reading import StoredArray
from .conditions import CONDITIONS, DTYPES

_AS_FOUND = {**DTYPES, "particle": np.float64}  # so that a NaN among PDG numbers is found


@dataclass(frozen=True)
class Column:
    """One or more arrays of a file, read side by side as an array (n, k).

    Attributes:
        parts: the arrays.
        dtype: of the values in memory.
        scale: by which they are multiplied.
    """

    parts: tuple[StoredArray, ...]
    dtype: Any
    scale: float = 1.0

    @property
    def width(self) -> int:
        return sum(math.prod(part.shape) for part in self.parts)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        parts = [part.read(start, stop).reshape(stop - start, -1) for part in self.parts]
        values = (parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)).astype(self.dtype, copy=False)
        return values if self.scale == 1 else values * self.dtype(self.scale)


def columns(file: h5py.File) -> dict[str, Column]:
    """The columns of an open file: energy and showers, and further conditions if it has them.

    Raises:
        DataError: a dataset is missing, or of the wrong shape or type.

    >>> with h5py.File("in memory", "w", driver="core", backing_store=False) as file:
    ...     file["energy"], file["layer_0"], file["layer_1"] = np.ones((5, 1)), np.ones((5, 3, 4)), np.ones((5, 2, 2))
    ...     found = columns(file)
    ...     {name: (isinstance(column, Column), column.read(1, 3).shape) for name, column in found.items()}
    {'energy': (True, (2, 1)), 'showers': (True, (2, 16))}
    """
    names = _names(set(file), Path(file.filename))
    return {
        name: Column(tuple(_array(file, part) for part in parts), _AS_FOUND.get(name, np.float32))
        for name, parts in names.items()
    }


def _names(found: set[str], path: Path) -> dict[str, tuple[str, ...]]:
    """Names of the datasets behind each column."""
    if "showers" in found or "layer_0" not in found:
        needed = {"energy": CONDITIONS["energy"], "showers": "showers"}
        for name in needed.values():
            if name not in found:
                raise DataError(
                    f'{path}: the dataset "{name}" is missing (found {sorted(found) or "nothing"}); expected '
                    "incident_energies (n, 1) and showers (n, voxels), MeV."
                )
        optional = {name: dataset for name, dataset in CONDITIONS.items() if dataset in found}
        return {name: (dataset,) for name, dataset in (needed | optional).items()}
    count = next(i for i in range(len(found) + 1) if f"layer_{i}" not in found)
    if "energy" not in found:
        raise DataError(f'{path}: found layer_0 .. layer_{count - 1}, but the dataset "energy" (n, 1) is missing.')
    return {"energy": ("energy",), "showers": tuple(f"layer_{i}" for i in range(count))}


def _array(file: h5py.File, name: str) -> StoredArray:
    array = StoredArray.of(file, name, kinds="fiu")
    if len(array.shape) > 3 or (name == "showers" and len(array.shape) != 1):
        expected = "(n, voxels)" if name == "showers" else "(n, ...)"
        raise DataError(f"{array.path}: expected {name} of shape {expected}, found {array.dataset.shape}.")
    return array
