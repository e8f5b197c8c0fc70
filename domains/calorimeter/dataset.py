"""Shower files as data sets and writers of tensors: read by global index, appended batch by batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...core.data import Batch
from ...data_specs.calorimeter.conditions import DTYPES
from ...data_specs.calorimeter.geometry import Geometry
from ...data_specs.calorimeter.geometry_json import geometry_from_json, geometry_to_json
from ...data_specs.calorimeter.showers import ShowerReader, Showers, content_digest
from ...data_specs.calorimeter.writer import ShowerWriter
from .batches import deposits, named_conditions

MEMORY_BOUND = 4 * 2**30
"""Bytes of deposits up to which a data set is held in memory; larger ones are read batch by batch."""


class ShowerDataset:
    """A shower file as a `Source`.

    `fetch` returns x (B, voxels) float32 MeV, condition {"energy": (B, 1) float32 MeV} with "particle" (B, 1)
    int64 PDG numbers and "angle" (B, k) float32 radians where the file has them, and the row numbers *in the file* as
    index, so that noise stays with its shower in any subset.

    Args:
        file: HDF5, see `data_specs.calorimeter.showers`.
        geometry: known name, XML file or geometry; by default the file decides.
        expected: the geometry that showers must have: other cells are refused, a file without geometry has this one.
        memory: bytes of deposits that may be held in memory.

    Raises:
        DataError: the file does not meet its spec.

    >>> from maquette.domains.calorimeter.sample import sample_path
    >>> data = ShowerDataset(sample_path())
    >>> data
    ShowerDataset(eplus_sample.h5, geometry=calogan, rows 0 .. 5499, conditions=energy)
    >>> data.rows(100, 200).fetch(torch.tensor([0])).index
    tensor([100])
    """

    def __init__(
        self,
        file: str | Path,
        geometry: str | Geometry | None = None,
        *,
        expected: Geometry | None = None,
        memory: int = MEMORY_BOUND,
    ) -> None:
        self.reader = ShowerReader(file, geometry, expected=expected)
        self.memory = memory
        self.start, self.stop = 0, len(self.reader)

    @property
    def geometry(self) -> Geometry:
        return self.reader.geometry

    @property
    def origin(self) -> Mapping[str, str]:
        """The attributes of the file, as text."""
        return self.reader.attributes

    @cached_property
    def description(self) -> Mapping[str, Any]:
        """The geometry, whole, and the width of each condition: a model that keeps this needs no file."""
        return {"geometry": geometry_to_json(self.geometry), "conditions": dict(self.reader.conditions)}

    def __len__(self) -> int:
        return self.stop - self.start

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.reader.path.name}, geometry={self.geometry.name}, "
            f"rows {self.start} .. {self.stop - 1}, conditions={'+'.join(self.reader.conditions)})"
        )

    def rows(self, start: int, stop: int) -> ShowerDataset:
        """The showers start .. stop - 1 of this data set."""
        part = object.__new__(ShowerDataset)
        part.reader, part.memory = self.reader, self.memory
        part.start, part.stop = self.start + start, min(self.start + stop, self.stop)
        return part

    def fetch(self, index: Tensor) -> Batch:
        """Return the showers at `index` (int64, 0 .. len - 1), in that order."""
        rows = index + self.start
        held = self._in_memory
        if held is None:
            x, condition = _tensors(self.reader.gather(rows.numpy()))
        else:
            x, condition = held[0][index], {name: values[index] for name, values in held[1].items()}
        return Batch(x, condition, rows)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content of these rows."""
        held = self._in_memory
        if held is None:
            return self.reader.digest(self.start, self.stop)
        conditions = {name: values.numpy() for name, values in held[1].items()}
        return content_digest([Showers(held[0].numpy(), conditions)])

    def summary(self) -> Sequence[tuple[str, str]]:
        """Pairs (label, value with unit) to print."""
        rows = list(self.reader.summary())
        if len(self) < len(self.reader):
            rows.append(("rows", f"{self.start:,} .. {self.stop - 1:,}"))
        return rows

    @cached_property
    def _in_memory(self) -> tuple[Tensor, dict[str, Tensor]] | None:
        if 4 * len(self) * self.geometry.n_voxels > self.memory:
            return None
        x = np.empty((len(self), self.geometry.n_voxels), np.float32)
        conditions = {
            name: np.empty((len(self), width), DTYPES[name]) for name, width in self.reader.conditions.items()
        }
        for block in self.reader.blocks(self.start, self.stop):
            part = slice(block.start - self.start, block.start - self.start + len(block.deposits))
            x[part] = block.deposits
            for name, values in block.conditions.items():
                conditions[name][part] = values
        return _tensors(Showers(x, conditions))


class ShowerFileWriter:
    """Appends batches of tensors to a shower file; see `data_specs.calorimeter.writer` for kills and resuming.

    Args:
        file: the file to write.
        description: as of `ShowerDataset`; a simulator's also names its "engine".
        attributes: stored in the file; must be the same when an interrupted run is resumed.
        n: how many showers the file will hold.

    Raises:
        DataError: the file exists already or was begun with other settings.

    >>> from tempfile import TemporaryDirectory
    >>> from maquette.domains.calorimeter.sample import sample_path
    >>> data = ShowerDataset(sample_path())
    >>> batch = data.fetch(torch.arange(10))
    >>> with TemporaryDirectory() as folder:
    ...     writer = ShowerFileWriter(f"{folder}/ten.h5", data.description, {"made_by": "an example"}, n=10)
    ...     writer.append(batch)
    ...     writer.close()
    ...     print(ShowerDataset(f"{folder}/ten.h5"))
    ShowerDataset(ten.h5, geometry=calogan, rows 0 .. 9, conditions=energy)
    """

    def __init__(
        self, file: str | Path, description: Mapping[str, Any], attributes: Mapping[str, str | int | float], n: int
    ) -> None:
        origin = {"engine": description["engine"]} if "engine" in description else {}
        self._writer = ShowerWriter(file, geometry_from_json(description["geometry"]), n, {**attributes, **origin})

    @property
    def written(self) -> int:
        return self._writer.written

    def append(self, batch: Batch) -> None:
        """Append showers (B, voxels) MeV and their conditions by name; raises `DataError` for invalid ones."""
        conditions = {name: _array(values) for name, values in named_conditions(batch.condition).items()}
        self._writer.append(_array(deposits(batch.x)), conditions)

    def close(self) -> None:
        """Finish the file if all showers were appended; else keep the complete blocks for a later writer."""
        self._writer.close()


def _array(values: Tensor) -> np.ndarray[Any, Any]:
    return values.detach().cpu().numpy()


def _tensors(showers: Showers) -> tuple[Tensor, dict[str, Tensor]]:
    conditions = {name: torch.from_numpy(values) for name, values in showers.conditions.items()}
    return torch.from_numpy(showers.deposits), conditions
