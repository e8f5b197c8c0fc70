"""Shower files: HDF5 of the CaloChallenge, or of CaloGAN's first publication, read in blocks.

CaloChallenge layout: `incident_energies` (n, 1) and `showers` (n, voxels), MeV; optionally `particle_types` (n, 1), PDG
numbers, and `angles` (n, k), radians. CaloGAN layout: `energy` (n, 1) and `layer_0`, `layer_1`, ... (n, rows, columns),
where the published files hold incident energies in GeV beside deposits in MeV.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .conditions import CONDITIONS, DTYPES, check_conditions
from .geometry import MIN_DEPOSIT, Geometry
from .resolve import resolve_geometry
from .units import MIN_SHOWERS, ThresholdCheck, check_energies, check_rows, check_together

BLOCK_BYTES = 32 * 2**20
_CHECKED_ENERGIES = 65_536  # rows whose energies are checked on opening
_CHECKED_DEPOSITS = 256  # rows whose deposits are checked on opening
_POSITIONS = 16  # where in the file such a sample is read: so many runs of rows, evenly spaced
_AS_FOUND = {**DTYPES, "particle": np.float64}  # so that a NaN among PDG numbers is found
_READ_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError)  # what h5py raises on damaged files


@dataclass(frozen=True)
class Showers:
    """Consecutive showers of a file.

    Attributes:
        deposits: (n, voxels), float32, MeV.
        conditions: by name, each (n, k).
        start: row of the first.

    >>> deposits, energy = np.zeros((2, 504), np.float32), np.full((2, 1), 5000.0, np.float32)
    >>> whole = Showers(deposits, {"energy": energy})
    >>> halves = [Showers(deposits[i : i + 1], {"energy": energy[i : i + 1]}, start=i) for i in range(2)]
    >>> content_digest([whole]) == content_digest(halves)
    True
    """

    deposits: NDArray[np.float32]
    conditions: Mapping[str, NDArray[Any]]
    start: int = 0


def content_digest(blocks: Iterable[Showers]) -> str:
    """SHA-256 of the values of showers; independent of blocks, compression and file."""
    hashes: dict[str, Any] = {}
    rows, shapes = 0, {}
    for block in blocks:
        rows += len(block.deposits)
        for name, values in (("deposits", block.deposits), *sorted(block.conditions.items())):
            little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
            hashes.setdefault(name, hashlib.sha256()).update(little.data)
            shapes[name] = (little.dtype.str, values.shape[1:])
    text = ";".join(f"{name} {shapes[name]} {state.hexdigest()}" for name, state in sorted(hashes.items()))
    return hashlib.sha256(f"{rows};{text}".encode()).hexdigest()


@dataclass(frozen=True)
class _Column:
    """One or more datasets read side by side as an array (n, k)."""

    datasets: tuple[h5py.Dataset, ...]
    dtype: Any
    scale: float = 1.0

    @property
    def width(self) -> int:
        return sum(int(np.prod(dataset.shape[1:], dtype=np.int64)) for dataset in self.datasets)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        parts = [dataset[start:stop].reshape(stop - start, -1) for dataset in self.datasets]
        values = (parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)).astype(self.dtype, copy=False)
        return values if self.scale == 1 else values * self.dtype(self.scale)


class ShowerReader:
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
        self._file = _open(self.path)
        try:
            self._setup(geometry, expected)
        except DataError:
            self.close()
            raise
        except _READ_ERRORS as error:
            self.close()
            raise DataError(f"{self.path}: damaged or truncated ({_short(error)}); copy or make it again.") from None

    def _setup(self, geometry: str | Geometry | None, expected: Geometry | None) -> None:
        self.attributes = {name: _text(value) for name, value in self._file.attrs.items()}
        names = _layout(self._file, self.path)
        datasets = {name: [_dataset(self._file, part, self.path) for part in parts] for name, parts in names.items()}
        self._length = _common_length(datasets, self.path)
        self._columns = {
            name: _Column(tuple(parts), _AS_FOUND.get(name, np.float32)) for name, parts in datasets.items()
        }
        for name in ("energy", "particle"):
            if name in self._columns and self._columns[name].width != 1:
                width = self._columns[name].width
                raise DataError(f"{self.path}: expected one {name} per shower, found {width} in {names[name][0]}.")
        self.conditions = {name: self._columns[name].width for name in CONDITIONS if name in self._columns}
        self.geometry, self.how = resolve_geometry(
            geometry,
            self.attributes.get("geometry"),
            self._columns["showers"].width,
            where=str(self.path),
            expected=expected,
        )
        self._find_units(layered=names["energy"] == ("energy",))

    def _find_units(self, *, layered: bool) -> None:
        where, totals, given = str(self.path), [], []
        threshold = ThresholdCheck(self.geometry.threshold)
        sample = max(1, min(_CHECKED_DEPOSITS, BLOCK_BYTES // (4 * self.geometry.n_voxels)))
        for start, stop in _evenly_spaced(self._length, sample):
            deposits = self._column("showers", start, stop)
            _check_deposits(deposits, where, start)
            threshold.add(deposits)
            totals.append(deposits.sum(axis=1, dtype=np.float64))
            given.append(self._column("energy", start, stop))
            check_conditions({"energy": given[-1]}, where, start)
        energies, deposited = np.concatenate(given), np.concatenate(totals)
        lit = deposited > 0
        self.energies_in_gev = layered and bool(lit.any() and np.median(deposited[lit] / energies[lit, 0]) > 100)
        if self.energies_in_gev:
            energy = self._columns["energy"]
            self._columns["energy"] = _Column(energy.datasets, energy.dtype, 1000.0)
            energies = 1000 * energies
        check_energies(self._energies(), where)
        for (start, _), energy, total in zip(_evenly_spaced(self._length, sample), given, totals, strict=True):
            check_rows(energy * (1000 if self.energies_in_gev else 1), total, where, start)
        check_together(energies, deposited, where, f"{len(energies)} evenly spaced rows")
        threshold.check(where)

    def _energies(self) -> NDArray[np.float32]:
        """Incident energies (n, 1), MeV, of a sample of rows spread over the file."""
        parts = []
        for start, stop in _evenly_spaced(self._length, _CHECKED_ENERGIES):
            parts.append(self._column("energy", start, stop))
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
        where, deposits = str(self.path), self._column("showers", start, stop)
        _check_deposits(deposits, where, start)
        found = {name: self._column(name, start, stop) for name in self.conditions}
        check_conditions(found, where, start)
        totals = deposits.sum(axis=1, dtype=np.float64)
        check_rows(found["energy"], totals, where, start)
        if (totals > 0).sum() >= MIN_SHOWERS:
            check_together(found["energy"], totals, where, f"rows {start} .. {stop - 1}")
        conditions = {name: values.astype(DTYPES[name], copy=False) for name, values in found.items()}
        return Showers(deposits, conditions, start)

    def gather(self, index: NDArray[np.int64]) -> Showers:
        """The showers at `index`, in that order; reads each chunk of the file once."""
        first = self._columns["showers"].datasets[0]
        rows_per_chunk = first.chunks[0] if first.chunks else 1024
        order = np.argsort(index, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(index[order] // rows_per_chunk)) + 1) if len(index) else []
        deposits = np.empty((len(index), self.geometry.n_voxels), np.float32)
        conditions = {name: np.empty((len(index), self._columns[name].width), DTYPES[name]) for name in self.conditions}
        for group in groups:
            start, stop = int(index[group[0]]), int(index[group[-1]]) + 1
            block = self.read(start, stop)
            deposits[group] = block.deposits[index[group] - start]
            for name, values in block.conditions.items():
                conditions[name][group] = values[index[group] - start]
        return Showers(deposits, conditions)

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Showers]:
        """Walk through rows start .. stop - 1 in blocks of about 32 MiB."""
        stop = self._length if stop is None else stop
        first = self._columns["showers"].datasets[0]
        step = max(1, BLOCK_BYTES // (4 * self.geometry.n_voxels))
        if first.chunks and step > first.chunks[0]:
            step -= step % first.chunks[0]
        for low in range(start, stop, step):
            yield self.read(low, min(low + step, stop))

    def digest(self, start: int = 0, stop: int | None = None) -> str:
        """SHA-256 of the content of these rows; reads them all."""
        return content_digest(self.blocks(start, stop))

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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _column(self, name: str, start: int, stop: int) -> NDArray[Any]:
        column = self._columns[name]
        try:
            return column.read(start, stop)
        except _READ_ERRORS as error:
            low, high = _damaged(column, start, stop)
            raise DataError(
                f"{self.path}: rows {low} .. {high - 1} of {str(column.datasets[0].name).lstrip('/')} cannot be read "
                f"({_short(error)}); the file is damaged: copy or make it again."
            ) from None


def describe_geometry(geometry: Geometry, how: str = "") -> Sequence[tuple[str, str]]:
    """Pairs (label, value with unit) to print; `how` says how the geometry was found.

    >>> from maquette.data_specs.calorimeter.geometries import known_geometry
    >>> describe_geometry(known_geometry("ds2"))[1:]
    [('voxels', '6,480 in 45 layers'), ('readout threshold', '15.15 keV')]
    """
    none = f"none; deposits under {1e6 * MIN_DEPOSIT:g} eV, which cannot ionise, are cut (an XML may give one)"
    return [
        ("geometry", f"{geometry.name} ({how})" if how else geometry.name),
        ("voxels", f"{geometry.n_voxels:,} in {len(geometry.active)} layers"),
        ("readout threshold", f"{1000 * geometry.threshold:g} keV" if geometry.threshold else none),
    ]


def _evenly_spaced(length: int, rows: int) -> Sequence[tuple[int, int]]:
    """Up to `rows` rows of a file, as ranges (start, stop) at equal distances; all of them if there are no more."""
    if length <= rows:
        return [(0, length)]
    size = max(1, rows // _POSITIONS)
    starts = np.linspace(0, length - size, max(1, rows // size)).astype(np.int64)
    return [(int(start), int(start) + size) for start in starts]


def _open(path: Path) -> h5py.File:
    if path.is_dir():
        raise DataError(f"{path}: expected a shower file (HDF5), found a folder.")
    if not path.exists():
        raise DataError(f"{path}: there is no such file.")
    try:
        if not h5py.is_hdf5(path):
            raise DataError(f"{path}: expected a shower file, but this is not HDF5 (or its header is damaged).")
        return h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path}: damaged or truncated HDF5 ({_short(error)}); copy or make it again.") from None


def _layout(file: h5py.File, path: Path) -> dict[str, tuple[str, ...]]:
    """Names of the datasets behind each column."""
    if "showers" in file or "layer_0" not in file:
        needed = {"energy": CONDITIONS["energy"], "showers": "showers"}
        for name in needed.values():
            if name not in file:
                raise DataError(
                    f'{path}: the dataset "{name}" is missing (found {sorted(file) or "nothing"}); expected '
                    "incident_energies (n, 1) and showers (n, voxels), MeV."
                )
        optional = {name: dataset for name, dataset in CONDITIONS.items() if dataset in file}
        return {name: (dataset,) for name, dataset in (needed | optional).items()}
    count = next(i for i in range(len(file) + 1) if f"layer_{i}" not in file)
    if "energy" not in file:
        raise DataError(f'{path}: found layer_0 .. layer_{count - 1}, but the dataset "energy" (n, 1) is missing.')
    return {"energy": ("energy",), "showers": tuple(f"layer_{i}" for i in range(count))}


def _dataset(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    item = file[name]
    if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiu":
        found = f"numbers of type {item.dtype}" if isinstance(item, h5py.Dataset) else "a group"
        raise DataError(f"{path}: expected {name} to hold real numbers, found {found}.")
    if not 1 <= item.ndim <= 4 or (name == "showers" and item.ndim != 2):
        expected = "(n, voxels)" if name == "showers" else "(n, ...)"
        raise DataError(f"{path}: expected {name} of shape {expected}, found {item.shape}.")
    return item


def _common_length(datasets: Mapping[str, Sequence[h5py.Dataset]], path: Path) -> int:
    lengths = {str(part.name).lstrip("/"): part.shape[0] for parts in datasets.values() for part in parts}
    if len(set(lengths.values())) != 1:
        raise DataError(f"{path}: every dataset needs one row per shower, found {lengths} rows.")
    length = next(iter(lengths.values()))
    if length == 0:
        raise DataError(f"{path}: has no showers; at least one is needed.")
    return int(length)


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


def _damaged(column: _Column, start: int, stop: int) -> tuple[int, int]:
    """Narrow a failed read down to the first chunk that cannot be read."""
    chunks = column.datasets[0].chunks
    step = chunks[0] if chunks else stop - start
    low = start
    while low < stop:
        high = min(stop, (low // step + 1) * step)
        try:
            column.read(low, high)
        except _READ_ERRORS:
            return low, high
        low = high
    return start, stop


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _short(error: BaseException) -> str:
    text = str(error).split("\n")[0]
    if "filter returned failure" in text:
        return "checksum or compression of a chunk is wrong"
    inner = text[text.find("(") + 1 : text.rfind(")")] if "(" in text and text.endswith(")") else text
    return inner[:120] or type(error).__name__
