"""Reading shower files: layouts, blocks, digests, and every way in which a file can be bad."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from maquette.data_specs.calorimeter.showers import ShowerReader
from maquette.data_specs.errors import DataError

N, VOXELS = 300, 504
UNSEEN = 282
"""A row that is not in the sample on opening."""


def showers(n: int = N, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    energies = 10 ** rng.uniform(3, 4, (n, 1))
    deposits = rng.exponential(1, (n, VOXELS)) * (rng.random((n, VOXELS)) < 0.3) + 0.0
    deposits[deposits < 2e-3] = 0
    return energies, deposits / deposits.sum(1, keepdims=True) * energies


def write(file: Path, /, chunk: int = 64, checksum: bool = True, **datasets: Any) -> Path:
    with h5py.File(file, "w") as target:
        for name, values in datasets.items():
            if isinstance(values, np.ndarray) and values.ndim == 2 and len(values):
                chunks = (min(chunk, len(values)), values.shape[1])
                target.create_dataset(name, data=values, chunks=chunks, fletcher32=checksum)
            else:
                target[name] = values
    return file


@pytest.fixture
def good(tmp_path: Path) -> Path:
    energies, deposits = showers()
    return write(tmp_path / "good.h5", incident_energies=energies, showers=deposits)


def test_reads_blocks_and_gathers_rows_in_any_order(good: Path) -> None:
    energies, deposits = showers()
    with ShowerReader(good) as reader:
        assert (len(reader), reader.geometry.name, reader.how) == (N, "calogan", "from its 504 voxels")
        block = reader.read(10, 20)
        assert block.deposits.dtype == np.float32
        np.testing.assert_allclose(block.deposits, deposits[10:20], rtol=1e-6)
        index = np.array([299, 3, 64, 63, 3, 128])
        gathered = reader.gather(index)
        np.testing.assert_allclose(gathered.deposits, deposits[index], rtol=1e-6)
        np.testing.assert_allclose(gathered.conditions["energy"], energies[index], rtol=1e-6)
        assert reader.gather(np.array([], dtype=np.int64)).deposits.shape == (0, VOXELS)


def test_the_digest_is_that_of_the_content(good: Path, tmp_path: Path) -> None:
    energies, deposits = showers()
    other = write(
        tmp_path / "other.h5",
        chunk=7,
        checksum=False,
        incident_energies=energies.astype(np.float32),
        showers=deposits.astype(np.float32),
    )
    assert ShowerReader(good).digest() == ShowerReader(other).digest()
    deposits[17, 5] += 1
    changed = write(tmp_path / "changed.h5", incident_energies=energies, showers=deposits)
    assert ShowerReader(good).digest() != ShowerReader(changed).digest()
    assert ShowerReader(good).digest(20, 300) == ShowerReader(changed).digest(20, 300)


def test_further_conditions_are_read_where_they_are(tmp_path: Path) -> None:
    energies, deposits = showers()
    particles = np.where(np.arange(N) % 2, 22, -11)[:, None]
    file = write(
        tmp_path / "two.h5",
        incident_energies=energies,
        showers=deposits,
        particle_types=particles,
        angles=np.zeros((N, 2)),
    )
    reader = ShowerReader(file)
    assert reader.conditions == {"energy": 1, "particle": 1, "angle": 2}
    conditions = reader.read(0, 5).conditions
    assert conditions["particle"].tolist() == particles[:5].tolist()
    assert conditions["angle"].shape == (5, 2)


@pytest.mark.parametrize("scale", [1e-3, 1.0])
def test_the_first_calogan_layout(tmp_path: Path, scale: float) -> None:
    energies, deposits = showers()
    file = write(
        tmp_path / "layers.h5",
        energy=energies * scale,
        layer_0=deposits[:, :288].reshape(N, 3, 96),
        layer_1=deposits[:, 288:432].reshape(N, 12, 12),
        layer_2=deposits[:, 432:].reshape(N, 12, 6),
    )
    reader = ShowerReader(file)
    block = reader.read(0, N)
    np.testing.assert_allclose(block.deposits, deposits, rtol=1e-6)
    np.testing.assert_allclose(block.conditions["energy"], energies, rtol=1e-6)
    assert any("GeV" in value for _, value in reader.summary()) == (scale != 1)


def altered(**changes: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    datasets: dict[str, Any] = dict(zip(("incident_energies", "showers"), showers(), strict=True))
    for name, change in changes.items():
        datasets[name] = change(datasets[name])
    return datasets


def put(row: int, column: int, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values[row, column] = value
        return values

    return change


@pytest.mark.parametrize(
    ("datasets", "words"),
    [
        ({"incident_energies": showers()[0]}, 'dataset "showers" is missing'),
        ({"showers": showers()[1]}, 'dataset "incident_energies" is missing'),
        ({"layer_0": np.ones((3, 2, 2))}, 'dataset "energy" (n, 1) is missing'),
        ({}, "found nothing"),
        (altered(showers=lambda x: x[:, :-1]), "no known geometry has 503 voxels"),
        (altered(showers=lambda x: x[:-1]), "as many rows as the others"),
        (altered(showers=lambda x: x.reshape(N, 3, -1)), "of shape (n, voxels)"),
        (altered(showers=lambda x: x[:0], incident_energies=lambda x: x[:0]), "has no showers"),
        (altered(showers=lambda x: np.full((N, VOXELS), b"a")), "real numbers, found numbers of type |S1"),
        (altered(incident_energies=lambda x: np.repeat(x, 2, axis=1)), "one energy per shower"),
        (altered(incident_energies=lambda x: x / 1000, showers=lambda x: x / 1000), "look like GeV"),
        (altered(showers=lambda x: x / 1000), "deposits look like GeV"),
        (altered(showers=lambda x: x * np.where(np.arange(N) == 7, 1e3, 1)[:, None]), "row 7 holds 1000 times"),
        (altered(showers=put(3, 9, np.nan)), "row 3, voxel 9: the deposit is nan"),
        (altered(showers=put(3, 9, -0.5)), "row 3, voxel 9: the deposit is -0.5"),
        (altered(incident_energies=put(250, 0, 0)), "row 250: the incident energy is 0"),
        (altered(incident_energies=put(250, 0, np.inf)), "row 250: the incident energy is inf"),
    ],
)
def test_bad_files_are_refused_on_opening(tmp_path: Path, datasets: dict[str, Any], words: str) -> None:
    file = write(tmp_path / "bad.h5", **datasets)
    with pytest.raises(DataError) as caught:
        ShowerReader(file)
    assert words in str(caught.value)
    assert "bad.h5" in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e-9])
def test_bad_deposits_further_down_are_refused_when_read(tmp_path: Path, value: float) -> None:
    file = write(tmp_path / "bad.h5", **altered(showers=put(UNSEEN, 9, value)))
    reader = ShowerReader(file)
    with pytest.raises(DataError, match=rf"row {UNSEEN}, voxel 9"):
        reader.read(270, 290)
    with pytest.raises(DataError, match=rf"row {UNSEEN}, voxel 9"):
        list(reader.blocks())


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("angles", np.where(np.arange(2 * N).reshape(N, 2) == 401, np.nan, 0.1), "row 200, column 1: the angle is nan"),
        ("angles", np.full(N, 45.0), "row 0: the angle is 45; expected finite radians"),
        (
            "particle_types",
            np.where(np.arange(N) == 5, np.nan, 22.0),
            "row 5: the particle is nan; .*PDG number of 22,",
        ),
        ("particle_types", np.full((N, 1), 12), r"row 0: the particle is 12; .*\(300 such in rows 0 \.\. 299\)"),
        ("particle_types", np.full((N, 1), 11.5), "the particle is 11.5"),
    ],
)
def test_impossible_conditions_are_refused_when_read(tmp_path: Path, name: str, values: np.ndarray, words: str) -> None:
    energies, deposits = showers()
    file = write(tmp_path / "bad.h5", incident_energies=energies, showers=deposits, **{name: values})
    with pytest.raises(DataError, match=words):
        ShowerReader(file).read(0, N)


def test_the_sample_on_opening_is_spread_over_the_file(tmp_path: Path) -> None:
    energies, deposits = showers(2000)
    deposits[-1, 0] = np.nan
    file = write(tmp_path / "bad.h5", incident_energies=energies, showers=deposits)
    with pytest.raises(DataError, match="row 1999, voxel 0: the deposit is nan"):
        ShowerReader(file)


@pytest.mark.parametrize("name", ["calogan", np.bytes_(b"calogan")])
def test_the_geometry_may_be_in_an_attribute(good: Path, name: str | np.bytes_) -> None:
    with h5py.File(good, "a") as file:
        file.attrs["geometry"] = name
    assert ShowerReader(good).how == "from the file's attribute"


def test_a_wrong_geometry_is_refused(good: Path) -> None:
    with pytest.raises(DataError, match="6480 voxels, but each shower has 504"):
        ShowerReader(good, "ds2")


def test_what_is_not_hdf5_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("energies: 1, 2, 3")
    for path, words in ((tmp_path / "text.h5", "not HDF5"), (tmp_path, "a folder"), (tmp_path / "no.h5", "no such")):
        with pytest.raises(DataError, match=words):
            ShowerReader(path)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.999])
def test_truncated_files_are_refused(good: Path, share: float) -> None:
    content = good.read_bytes()
    good.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match=r"damaged|truncated|not HDF5"):
        ShowerReader(good).read(0, N)


def test_a_flipped_bit_is_refused_and_its_rows_are_named(tmp_path: Path) -> None:
    energies, deposits = showers()
    damaged = write(tmp_path / "a.h5", chunk=2, incident_energies=energies, showers=deposits)
    with h5py.File(damaged) as file:
        place = file["showers"].id.get_chunk_info(UNSEEN // 2).byte_offset
    content = bytearray(damaged.read_bytes())
    content[place + 1000] ^= 4
    damaged.write_bytes(content)
    reader = ShowerReader(damaged)
    reader.read(0, UNSEEN)
    with pytest.raises(DataError, match=rf"rows {UNSEEN} \.\. {UNSEEN + 1} of showers cannot be read .*checksum"):
        reader.read(100, 300)


def test_flipped_bits_anywhere_never_raise_anything_else(good: Path) -> None:
    content = good.read_bytes()
    rng = np.random.default_rng(1)
    heads = rng.integers(0, 4096, 60)  # where HDF5 keeps its own books
    for place in [*heads, *rng.integers(4096, len(content), 20)]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        good.write_bytes(damaged)
        with suppress(DataError), ShowerReader(good) as reader:
            list(reader.blocks())
