"""Rows of a file as a source, whether they are held in memory or read batch by batch; the file holds complex boxes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from maquette.core.data import Batch
from maquette.data_specs.hdf5.reading import StoredArray, gather, open_hdf5, ranges, text_attributes
from maquette.domains.dataset import FileDataset
from torch import Tensor

FIELD = (np.arange(50 * 8) * (1 + 2j)).reshape(50, 2, 4).astype(np.complex64)


@dataclass(frozen=True)
class Boxes:
    arrays: Mapping[str, np.ndarray]


class BoxReader:
    row_bytes = 8 * 8 + 8

    def __init__(self, path: Path) -> None:
        self.path, file = path, open_hdf5(path, "boxes")
        self.attributes = text_attributes(file)
        self._arrays = {name: StoredArray.of(file, name) for name in file}

    def __len__(self) -> int:
        return len(self._arrays["field"])

    def _read(self, start: int, stop: int) -> dict[str, np.ndarray]:
        return {name: array.read(start, stop) for name, array in self._arrays.items()}

    def blocks(self, start: int, stop: int) -> Iterator[Boxes]:
        for low, high in ranges(start, stop, step=20, chunk=8):
            yield Boxes(self._read(low, high))

    def gather(self, index: np.ndarray) -> Boxes:
        return Boxes(gather(self._read, index, chunk=8))

    def summary(self) -> Sequence[tuple[str, str]]:
        return [("boxes", str(len(self)))]


class BoxDataset(FileDataset[BoxReader]):
    description: Mapping[str, Any] = {"grid": [2, 4]}

    def batch(self, arrays: Mapping[str, Tensor], index: Tensor) -> Batch:
        return Batch(arrays["field"], {"label": arrays["label"]}, index)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "boxes.h5", "w") as target:
        target.create_dataset("field", data=FIELD, chunks=(8, 2, 4))
        target["label"] = np.arange(50)
        target.attrs["engine"] = "test"
    return tmp_path / "boxes.h5"


@pytest.mark.parametrize("memory", [2**20, 0])
def test_rows_keep_their_numbers_in_any_subset(file: Path, memory: int) -> None:
    data = BoxDataset(BoxReader(file), memory)
    part = data.rows(10, 40).rows(5, 100)
    assert (len(data), len(part), data.origin) == (50, 25, {"engine": "test"})
    batch = part.fetch(torch.tensor([24, 0, 3]))
    assert batch.index.tolist() == [39, 15, 18] == batch.condition["label"].tolist()
    assert torch.equal(batch.x, torch.from_numpy(FIELD[[39, 15, 18]]))
    assert repr(part) == "BoxDataset(boxes.h5, rows 15 .. 39)"
    assert part.summary() == [("boxes", "50"), ("rows", "15 .. 39")]
    assert data.summary() == [("boxes", "50")]


def test_the_digest_is_that_of_the_rows_however_they_are_read(file: Path) -> None:
    held, read = (BoxDataset(BoxReader(file), memory) for memory in (2**20, 0))
    assert held.digest == read.digest != held.rows(0, 20).digest
    assert held.rows(3, 41).digest == read.rows(3, 41).digest
    held.fetch(torch.tensor([0]))
    assert held.rows(3, 41).fetch(torch.tensor([0])).index == 3
