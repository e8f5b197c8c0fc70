"""The embedded showers are what they say they are."""

from pathlib import Path

import numpy as np
import pytest
from maquette.data_specs.calorimeter.showers import ShowerReader
from maquette.data_specs.errors import DataError
from maquette.domains.calorimeter.sample import SHOWERS, make_sample, sample_path


def test_the_sample_is_small_whole_and_real() -> None:
    assert sample_path().stat().st_size <= 3_000_000
    with ShowerReader(sample_path()) as reader:
        showers = reader.read(0, len(reader))
        assert (len(reader), reader.geometry.name) == (SHOWERS, "calogan")
        assert reader.attributes["engine"].startswith("Geant4")
    deposits = showers.deposits[showers.deposits > 0]
    assert deposits.min() >= reader.geometry.threshold
    for line, share in ((0.510999, 0.015), (0.088005, 0.007)):
        assert (np.abs(deposits - line) < 1e-6).mean() > share
    assert 0.40 < (showers.deposits[:, 432:].sum(1) == 0).mean() < 0.50  # the last layer is often empty


def test_the_sample_is_made_again_from_the_full_set(data_folder: Path, tmp_path: Path) -> None:
    source = data_folder / "calorimeter" / "geant4_calogan_eplus_train.h5"
    make_sample(source, tmp_path / "again.h5")
    with ShowerReader(tmp_path / "again.h5") as again, ShowerReader(sample_path()) as ours:
        assert again.digest() == ours.digest()
        assert again.attributes == ours.attributes


def test_held_out_rows_are_not_taken(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="held out"):
        make_sample(tmp_path / "none.h5", tmp_path / "sample.h5", 42_001)
