"""Whole files against their spec: what is far down a file, and what only all rows together show."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from maquette.data_specs.calorimeter.checks import check_showers
from maquette.data_specs.calorimeter.showers import ShowerReader
from maquette.data_specs.calorimeter.units import ThresholdCheck
from maquette.data_specs.errors import DataError

N = 600


def write(file: Path, factor: float = 1.0, row: slice | int | None = None, energy: float = 5e5) -> Path:
    """Showers with the ds2 readout threshold; `factor` multiplies all rows, or the deposits of one."""
    rng = np.random.default_rng(0)
    deposits = np.where(rng.random((N, 6480)) < 0.05, rng.exponential(0.5, (N, 6480)) + 0.01516, 0) * 3000
    deposits = np.where(rng.random((N, 6480)) < 0.01, 0.01516, deposits)
    energies = np.full((N, 1), energy)
    if row is None:
        deposits, energies = deposits * factor, energies * factor
    else:
        deposits[row] *= factor
    with h5py.File(file, "w") as target:
        target.create_dataset("incident_energies", data=energies)
        target.create_dataset("showers", data=deposits.astype(np.float32), chunks=(50, 6480), compression=1)
    return file


def test_a_good_file_is_described(tmp_path: Path) -> None:
    seen = []
    rows = dict(check_showers(write(tmp_path / "a.h5"), progress=lambda *step: seen.append(step)))
    assert rows["showers"] == "600"
    assert rows["median incident energy"] == "500000 MeV"
    assert rows["deposits"].startswith("0.01516 ..")
    assert rows["under the threshold"].startswith("0 deposits")
    assert seen[-1] == ("checking showers", N, N)


def test_gev_for_mev_is_caught_by_the_median_energy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"median incident energy is 5; .* look like GeV"):
        check_showers(write(tmp_path / "a.h5", 1e-3, energy=5e3))


def test_gev_for_mev_is_caught_by_the_threshold_at_high_energy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"readout threshold of 0.01515 MeV, .* look like GeV"):
        check_showers(write(tmp_path / "a.h5", 1e-3))


def test_mixed_units_are_caught_in_any_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 555 holds .* units are mixed"):
        check_showers(write(tmp_path / "a.h5", 1e3, row=555))


def test_negative_deposits_are_found_in_any_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 555, voxel \d+: the deposit is -"):
        check_showers(write(tmp_path / "a.h5", -1, row=555))


@pytest.mark.parametrize(
    "law",
    [
        lambda rng: 0.01515 + rng.exponential(0.5, 2000),
        lambda rng: rng.exponential(0.5, 2000) + 1e-4,
        lambda rng: np.where(rng.random(2000) < 0.2, 10 ** rng.uniform(-23, -2, 2000), rng.exponential(0.5, 2000)),
        lambda rng: np.append(0.014 + rng.exponential(0.5, 2000), 1.2e-3 * 0.01515),
    ],
    ids=["trimmed", "untrimmed generator", "ideal", "rounded, with a stray deposit"],
)
def test_deposits_that_do_not_contradict_the_threshold(law: Callable[[np.random.Generator], np.ndarray]) -> None:
    faintest = ThresholdCheck(0.01515)
    for part in np.split(law(np.random.default_rng(0))[:2000], 4):
        faintest.add(part)
    faintest.check("a.h5")


def spoilt(file: Path, name: str) -> Path:
    """A file of which some showers are wrong in a way that no single row and no first block shows."""
    rng = np.random.default_rng(1)
    threshold = 1e-3
    energies = 10 ** rng.uniform(3, 4, (N, 1))
    deposits = rng.dirichlet(np.full(504, 0.1), N) * energies * rng.normal(0.9, 0.02, (N, 1))
    deposits[deposits < threshold] = 0
    if name == "energies of a part":
        energies[300:350] /= 1e3
    elif name == "deposits of the second half":
        deposits[300:] /= 1e3
    elif name == "deposits here and there":
        deposits[rng.random(N) < 0.4] /= 1e3
    elif name == "deposits of an ideal engine, a few":
        deposits = np.where(rng.random(deposits.shape) < 0.02, 10 ** rng.uniform(-20, -3, deposits.shape), deposits)
        deposits[-30:] /= 1e3
    elif name == "all, at high energy":
        energies, deposits = energies / 10, np.where(deposits > 0, deposits + threshold, 0) / 10
        deposits = np.where(rng.random(deposits.shape) < 0.05, 1.1e-6, deposits)
        energies *= 10
    elif name == "empty showers first":
        deposits[:200] = 0
    elif name == "poor showers":
        deposits *= np.where(rng.random((N, 1)) < 0.3, 10 ** rng.uniform(-4, 0, (N, 1)), 1.0)
        deposits[deposits < threshold] = 0
    with h5py.File(file, "w") as target:
        target.create_dataset("incident_energies", data=energies)
        target.create_dataset("showers", data=deposits.astype(np.float32), chunks=(50, 504))
    return file


def read_whole(file: Path) -> None:
    """As `fit` and `validate` do."""
    with ShowerReader(file) as reader:
        for _ in reader.blocks():
            pass


@pytest.mark.parametrize("read", [read_whole, check_showers])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("energies of a part", r"row 3\d\d holds .* times its incident energy .* units are mixed"),
        ("deposits of the second half", "GeV"),
        ("deposits here and there", "hold a thousandth of what the others hold .* units are mixed"),
        ("deposits of an ideal engine, a few", "units are mixed"),
        ("all, at high energy", "readout threshold of 0.001 MeV, .* look like GeV"),
    ],
)
def test_whoever_reads_a_file_refuses_other_units(
    tmp_path: Path, name: str, words: str, read: Callable[[Path], object]
) -> None:
    with pytest.raises(DataError, match=words):
        read(spoilt(tmp_path / "a.h5", name))


@pytest.mark.parametrize("name", ["empty showers first", "poor showers"])
def test_strange_showers_are_no_other_units(tmp_path: Path, name: str) -> None:
    file = spoilt(tmp_path / "a.h5", name)
    read_whole(file)
    check_showers(file)


@pytest.mark.parametrize("name", ["calogan_eplus", "calogan_gamma", "ds2_eminus"])
def test_real_files_pass(data_folder: Path, name: str) -> None:
    rows = dict(check_showers(data_folder / "calorimeter" / f"geant4_{name}_train.h5"))
    assert ("0 deposits" in rows["under the threshold"]) == (name == "ds2_eminus")
    if name == "calogan_eplus":
        assert rows["emptiest layer"].startswith("2, empty in 44.8 %")
