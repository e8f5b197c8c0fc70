"""Whole files against their spec: what is far down a file, and what only all rows together show."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from maquette.data_specs.calorimeter.checks import check_showers
from maquette.data_specs.calorimeter.units import check_threshold
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
    ("smallest", "below"),
    [(0.01515, 0.0), (1e-23, 0.2), (1e-4, 0.5), (14e-3, 1e-4)],
    ids=["trimmed", "ideal", "untrimmed generator", "rounded"],
)
def test_deposits_that_do_not_contradict_the_threshold(smallest: float, below: float) -> None:
    check_threshold(smallest, below, 0.01515, "a.h5")


@pytest.mark.parametrize("name", ["calogan_eplus", "calogan_gamma", "ds2_eminus"])
def test_real_files_pass(data_folder: Path, name: str) -> None:
    rows = dict(check_showers(data_folder / "calorimeter" / f"geant4_{name}_train.h5"))
    assert ("0 deposits" in rows["under the threshold"]) == (name == "ds2_eminus")
    if name == "calogan_eplus":
        assert rows["emptiest layer"].startswith("2, empty in 44.8 %")
