"""Shower files: HDF5 of the CaloChallenge, or of CaloGAN's first publication, read in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..closing import Closing
from ..errors import DataError
from ..hdf5.digest import content_digest
from ..hdf5.reading import (
    BLOCK_BYTES,
    READ_ERRORS,
    common_length,
    evenly_spaced_ranges,
    gather,
    open_hdf5,
    ranges,
    short_reason,
    text_attributes,
)
from .columns import columns
from .conditions import CONDITIONS, DTYPES, check_conditions
from .geometry import Geometry, describe_geometry
from .resolve import resolve_geometry
from .units import MIN_SHOWERS, ThresholdCheck, check_energies, check_rows, check_together

_CHECKED_ENERGIES = 65_536  # rows whose energies are checked on opening
_CHECKED_DEPOSITS = 256  # rows whose deposits are checked on opening


@dataclass(frozen=True)
class Showers:
    """Consecutive showers of a file.

    Attributes:
        deposits: (n, voxels), float32, MeV.
        conditions: by name, each (n, k).
        start: row of the first.

    >>> showers = Showers(np.zeros((2, 504), np.float32), {"energy": np.full((2, 1), 5000.0, np.float32)})
    >>> list(showers.arrays)
    ['deposits', 'energy']
    """

    deposits: NDArray[np.float32]
    conditions: Mapping[str, NDArray[Any]]
    start: int = 0

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Deposits and conditions by name."""
        return {"deposits": self.deposits, **self.conditions}


class ShowerReader(Closing):
    """Reads a shower file in blocks.

    Opening checks energies, units and threshold on a sample of rows, evenly spaced over the file; reading checks every
    row that is read.

    Args:
        path: the HDF5 file.
        geometry: known name, XML file or geometry; by default the file's attribute or voxel count decides.
        expected: the geometry that showers must have: other cells are refused, a file without geometry has this one.

    Attributes:
        geometry, how: the voxel geometry, and how it was found.
        conditions: the conditions in the file ("energy", and "particle" or "angle" if present), and how many values
            of each a shower has.
        energies_in_gev: whether the file has incident energies in GeV; they are read as MeV.
        attributes: the file's own attributes, as text.

    Raises:
        DataError: not HDF5, truncated, a dataset missing or of the wrong shape or type, no showers, another number of
            voxels than the geometry has, or energies that are not MeV.

    >>> from maquette.domains.calorimeter.sample import sample_path
    >>> with ShowerReader(sample_path()) as reader:
    ...     showers = reader.read(0, 10)
    ...     print(reader, showers.deposits.shape)
    ShowerReader(eplus_sample.h5, geometry=calogan, showers=5500, conditions=energy) (10, 504)
    """

    def __init__(
        self, path: str | Path, geometry: str | Geometry | None = None, *, expected: Geometry | None = None
    ) -> None:
        self.path = Path(path)
        self._file = open_hdf5(self.path, "showers")
        try:
            self._setup(geometry, expected)
        except DataError:
            self.close()
            raise
        except READ_ERRORS as error:
            self.close()
            raise DataError(
                f"{self.path}: damaged or truncated ({short_reason(error)}); copy or make it again."
            ) from None

    def _setup(self, geometry: str | Geometry | None, expected: Geometry | None) -> None:
        self.attributes = text_attributes(self._file)
        self._columns = columns(self._file)
        self._length = common_length([part for column in self._columns.values() for part in column.parts], "showers")
        for name in ("energy", "particle"):
            column = self._columns.get(name)
            if column and column.width != 1:
                found = f"{column.width} in {column.parts[0].name}"
                raise DataError(f"{self.path}: expected one {name} per shower, found {found}.")
        self.conditions = {name: self._columns[name].width for name in CONDITIONS if name in self._columns}
        self.geometry, self.how = resolve_geometry(
            geometry,
            self.attributes.get("geometry"),
            self._columns["showers"].width,
            where=str(self.path),
            expected=expected,
        )
        self._find_units(layered=self._columns["energy"].parts[0].name == "energy")

    def _find_units(self, *, layered: bool) -> None:
        where, totals, given = str(self.path), [], []
        threshold = ThresholdCheck(self.geometry.threshold)
        sample = max(1, min(_CHECKED_DEPOSITS, BLOCK_BYTES // self.row_bytes))
        for start, stop in evenly_spaced_ranges(self._length, sample):
            deposits = self._columns["showers"].read(start, stop)
            _check_deposits(deposits, where, start)
            threshold.add(deposits)
            totals.append(deposits.sum(axis=1, dtype=np.float64))
            given.append(self._columns["energy"].read(start, stop))
            check_conditions({"energy": given[-1]}, where, start)
        energies, deposited = np.concatenate(given), np.concatenate(totals)
        lit = deposited > 0
        self.energies_in_gev = layered and bool(lit.any() and np.median(deposited[lit] / energies[lit, 0]) > 100)
        if self.energies_in_gev:
            self._columns["energy"] = replace(self._columns["energy"], scale=1000.0)
            energies = 1000 * energies
        check_energies(self._energies(), where)
        for (start, _), energy, total in zip(evenly_spaced_ranges(self._length, sample), given, totals, strict=True):
            check_rows(energy * (1000 if self.energies_in_gev else 1), total, where, start)
        check_together(energies, deposited, where, f"{len(energies)} evenly spaced rows")
        threshold.check(where)

    def _energies(self) -> NDArray[np.float32]:
        """Incident energies (n, 1), MeV, of a sample of rows spread over the file."""
        parts = []
        for start, stop in evenly_spaced_ranges(self._length, _CHECKED_ENERGIES):
            parts.append(self._columns["energy"].read(start, stop))
            check_conditions({"energy": parts[-1]}, str(self.path), start)
        return np.concatenate(parts)

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.path.name}, geometry={self.geometry.name}, showers={len(self)}, "
            f"conditions={'+'.join(self.conditions)})"
        )

    def read(self, start: int, stop: int) -> Showers:
        """The showers start .. stop - 1.

        Raises:
            DataError: damage, NaN, negative energies, impossible conditions or mixed units, naming the row.
        """
        where, deposits = str(self.path), self._columns["showers"].read(start, stop)
        _check_deposits(deposits, where, start)
        found = {name: self._columns[name].read(start, stop) for name in self.conditions}
        check_conditions(found, where, start)
        totals = deposits.sum(axis=1, dtype=np.float64)
        check_rows(found["energy"], totals, where, start)
        if (totals > 0).sum() >= MIN_SHOWERS:
            check_together(found["energy"], totals, where, f"rows {start} .. {stop - 1}")
        conditions = {name: values.astype(DTYPES[name], copy=False) for name, values in found.items()}
        return Showers(deposits, conditions, start)

    def gather(self, index: NDArray[np.int64]) -> Showers:
        """The showers at `index`, in that order; reads each chunk of the file once."""
        found = gather(lambda start, stop: self.read(start, stop).arrays, index, self._rows_per_chunk)
        return Showers(found.pop("deposits"), found)

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Showers]:
        """Walk through rows start .. stop - 1 in blocks of about 32 MiB."""
        stop = self._length if stop is None else stop
        step = BLOCK_BYTES // self.row_bytes
        for low, high in ranges(start, stop, step=step, chunk=self._rows_per_chunk):
            yield self.read(low, high)

    def digest(self, start: int = 0, stop: int | None = None) -> str:
        """SHA-256 of the content of these rows; reads them all."""
        return content_digest(block.arrays for block in self.blocks(start, stop))

    def summary(self) -> Sequence[tuple[str, str]]:
        """Pairs (label, value with unit) to print."""
        energies, geometry = self._energies(), self.geometry
        extra = ", ".join(name for name in self.conditions if name != "energy")
        rows = [
            ("file", str(self.path)),
            ("showers", f"{self._length:,}"),
            *describe_geometry(geometry, self.how),
            ("incident energy", f"{energies.min():.6g} .. {energies.max():.6g} MeV"),
        ]
        if extra:
            rows.append(("further conditions", extra))
        if self.energies_in_gev:
            rows.append(("units", "incident energies in GeV, deposits in MeV (CaloGAN layout); read as MeV"))
        rows += [(name, self.attributes[name]) for name in ("description", "engine") if name in self.attributes]
        return rows

    def close(self) -> None:
        """Close the file; reading ends."""
        self._file.close()

    @property
    def row_bytes(self) -> int:
        """Bytes of a shower's deposits in memory."""
        return 4 * self.geometry.n_voxels

    @property
    def _rows_per_chunk(self) -> int:
        return self._columns["showers"].parts[0].rows_per_chunk


def _check_deposits(deposits: NDArray[np.floating], where: str, start: int) -> None:
    """Raise `DataError` unless all are finite and not negative."""
    if np.isfinite(deposits.max()) and deposits.min() >= 0:  # NaN propagates through both
        return
    wrong = ~np.isfinite(deposits) | (deposits < 0)
    row, voxel = np.argwhere(wrong)[0]
    raise DataError(
        f"{where}: row {start + row}, voxel {voxel}: the deposit is {deposits[row, voxel]:g}; expected a finite "
        f"non-negative number of MeV ({int(wrong.sum())} such in rows {start} .. {start + len(deposits) - 1})."
    )
