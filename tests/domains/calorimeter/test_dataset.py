"""Shower files as batches: in memory or streamed, whole or in part."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from maquette.core.data import Subset
from maquette.core.errors import ConfigError
from maquette.data_specs.calorimeter.geometry_json import geometry_from_json
from maquette.domains.calorimeter.dataset import ShowerDataset, ShowerFileWriter
from maquette.domains.calorimeter.plugin import CALORIMETER
from maquette.domains.calorimeter.sample import sample_path

N, VOXELS = 120, 504


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    energies = 10 ** rng.uniform(3, 4, (N, 1))
    deposits = rng.dirichlet(np.ones(VOXELS), N) * energies
    with h5py.File(tmp_path / "showers.h5", "w") as target:
        target.create_dataset("incident_energies", data=energies)
        target.create_dataset("showers", data=deposits, chunks=(16, VOXELS), compression="gzip")
        target.create_dataset("particle_types", data=np.where(np.arange(N) % 2, 22, -11))
    return tmp_path / "showers.h5"


@pytest.mark.parametrize("memory", [0, 2**30])
def test_fetch_answers_by_index(file: Path, memory: int) -> None:
    data = ShowerDataset(file, memory=memory)
    index = torch.tensor([7, 100, 7, 0, 31])
    batch = data.fetch(index)
    with h5py.File(file) as source:
        expected = torch.from_numpy(source["showers"][:])[index].float()
        energies = torch.from_numpy(source["incident_energies"][:])[index].float()
    assert batch.x.dtype == torch.float32
    torch.testing.assert_close(batch.x, expected)
    assert isinstance(batch.condition, dict)
    torch.testing.assert_close(batch.condition["energy"], energies)
    assert batch.condition["particle"].tolist() == [[22], [-11], [22], [-11], [22]]
    assert batch.index.tolist() == index.tolist()


@pytest.mark.parametrize("memory", [0, 2**30])
def test_rows_keep_their_global_index(file: Path, memory: int) -> None:
    data = ShowerDataset(file, memory=memory)
    part = data.rows(40, 100).rows(10, 999)
    assert len(part) == 50
    batch, whole = part.fetch(torch.tensor([5, 49])), data.fetch(torch.tensor([55, 99]))
    torch.testing.assert_close(batch.x, whole.x)
    assert batch.index.tolist() == [55, 99]
    assert Subset(part, torch.tensor([5])).fetch(torch.tensor([0])).index.tolist() == [55]
    assert part.digest != data.digest
    assert ("rows", "50 .. 99") in part.summary()


def test_the_digest_does_not_depend_on_how_the_file_is_read(file: Path) -> None:
    held, streamed = ShowerDataset(file), ShowerDataset(file, memory=0)
    assert held.digest == streamed.digest
    assert held.rows(3, 77).digest == streamed.rows(3, 77).digest


def test_the_description_is_plain_json_and_holds_the_whole_geometry(file: Path) -> None:
    data = ShowerDataset(file)
    description = json.loads(json.dumps(data.description))
    assert geometry_from_json(description["geometry"]) == data.geometry
    assert description["conditions"] == {"energy": 1, "particle": 1}


def test_what_is_written_is_fetched(file: Path, tmp_path: Path) -> None:
    data = ShowerDataset(file)
    writer = ShowerFileWriter(tmp_path / "copy.h5", data.description, {"source": "copy"}, len(data))
    while writer.written < len(data):
        batch = data.fetch(torch.arange(writer.written, min(writer.written + 50, len(data))))
        writer.append(batch)
    writer.close()
    assert ShowerDataset(tmp_path / "copy.h5").digest == data.digest


def test_real_showers(data_folder: Path) -> None:
    data = ShowerDataset(data_folder / "calorimeter" / "geant4_calogan_eplus_train.h5")
    batch = data.rows(42_000, 58_000).fetch(torch.arange(2000))
    assert isinstance(batch.x, torch.Tensor)
    assert isinstance(batch.condition, dict)
    assert batch.index[0] == 42_000
    ratio = batch.x.sum(1) / batch.condition["energy"][:, 0]
    assert 0.99 < ratio.median() < 1
    assert ((batch.x - 0.510999).abs() < 2e-6).sum() > 1000  # annihilation at rest


def test_an_unknown_option_of_the_reader_is_answered_with_the_known_ones() -> None:
    assert CALORIMETER.open(sample_path(), {"geometry": "calogan"}).geometry.name == "calogan"
    for read in (CALORIMETER.open, lambda file, options: CALORIMETER.check(file, options, lambda *_: None)):
        with pytest.raises(ConfigError, match=r'data.options.geometri: .* Did you mean "geometry"'):
            read(sample_path(), {"geometri": "calogan"})
