"""Shower files as data sets and writers of tensors: read by global index, appended batch by batch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ...core.data import Batch
from ...data_specs.calorimeter.geometry import Geometry
from ...data_specs.calorimeter.geometry_json import geometry_from_json, geometry_to_json
from ...data_specs.calorimeter.showers import ShowerReader
from ...data_specs.calorimeter.writer import ShowerWriter
from ..conditions import named_conditions
from ..dataset import MEMORY_BOUND, FileDataset
from .batches import deposits


class ShowerDataset(FileDataset[ShowerReader]):
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

    >>> import torch
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
        super().__init__(ShowerReader(file, geometry, expected=expected), memory)

    @property
    def geometry(self) -> Geometry:
        return self.reader.geometry

    @property
    def description(self) -> Mapping[str, Any]:
        """The geometry, whole, and the width of each condition: a model that keeps this needs no file."""
        return {"geometry": geometry_to_json(self.geometry), "conditions": dict(self.reader.conditions)}

    def extra_repr(self) -> str:
        conditions = "+".join(self.reader.conditions)
        return f"geometry={self.geometry.name}, {super().extra_repr()}, conditions={conditions}"

    def batch(self, arrays: Mapping[str, Tensor], index: Tensor) -> Batch:
        """Showers as x, all else as their conditions."""
        condition = dict(arrays)
        return Batch(condition.pop("deposits"), condition, index)


class ShowerFileWriter:
    """Appends batches of tensors to a shower file; see `data_specs.calorimeter.writer` for kills and resuming.

    Args:
        file: the file to write.
        description: as of `ShowerDataset`; a simulator's also names its "engine".
        attributes: stored in the file; must be the same when an interrupted run is resumed.
        n: how many showers the file will hold.

    Raises:
        DataError: the file exists already or was begun with other settings.

    >>> import torch
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
