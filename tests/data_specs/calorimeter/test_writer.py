"""Writing shower files: what comes out, and what is not written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from maquette.data_specs.calorimeter.geometries import known_geometry
from maquette.data_specs.calorimeter.geometry import CartesianLayer, Geometry
from maquette.data_specs.calorimeter.showers import ShowerReader
from maquette.data_specs.calorimeter.writer import ShowerWriter
from maquette.data_specs.errors import DataError

CALOGAN = known_geometry("calogan")
N = 205
KEEP = {"seed": 7, "source": "test"}


def showers(start: int, stop: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Showers as a function of their index."""
    rows = [np.random.default_rng(i) for i in range(start, stop)]
    energies = np.array([[1000 + 10 * i] for i in range(start, stop)], np.float32)
    deposits = np.stack([rng.exponential(2, 504) * (rng.random(504) < 0.3) for rng in rows]).astype(np.float32)
    return deposits, {"energy": energies, "particle": np.full((stop - start, 1), -11)}


def fill(writer: ShowerWriter) -> None:
    while writer.written < N:
        writer.append(*showers(writer.written, min(writer.written + 16, N)))


def make(path: Path, **options: Any) -> ShowerWriter:
    return ShowerWriter(path, CALOGAN, N, KEEP, **{"chunk": 10, **options})


@pytest.mark.parametrize(("chunk", "compression"), [(10, 1), (None, 1), (7, 0)])
def test_what_is_written_is_read(tmp_path: Path, chunk: int | None, compression: int) -> None:
    file = tmp_path / "deep" / "showers.h5"
    with make(file, chunk=chunk, compression=compression) as writer:
        fill(writer)
    with ShowerReader(file) as reader:
        block = reader.read(0, N)
        deposits, conditions = showers(0, N)
        np.testing.assert_array_equal(block.deposits, deposits)
        np.testing.assert_array_equal(block.conditions["energy"], conditions["energy"])
        np.testing.assert_array_equal(block.conditions["particle"], conditions["particle"])
        assert (reader.geometry, reader.how) == (CALOGAN, "from the file's attribute")
        assert reader.attributes["source"] == "test"
    with h5py.File(file) as source:
        assert all(source[name].fletcher32 for name in source)
    assert sorted(path.name for path in file.parent.iterdir()) == ["showers.h5"]


def change(**changes: Callable[[Any], Any]) -> tuple[Any, dict[str, Any]]:
    deposits, conditions = showers(0, 4)
    rows = {"deposits": deposits, **conditions}
    for name, function in changes.items():
        rows[name] = function(rows[name])
    return rows.pop("deposits"), rows


def nan(values: np.ndarray) -> np.ndarray:
    values[2, 0] = np.nan
    return values


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (change(deposits=lambda x: x[:, 1:]), "expected showers of shape"),
        (change(deposits=nan), "shower 2 has nan in showers"),
        (change(deposits=lambda x: -x), "finite, non-negative MeV"),
        (change(energy=nan), "shower 2 has nan in incident_energies"),
        ((showers(0, 4)[0], {}), "showers need their incident energy"),
        ((showers(0, 4)[0], {"colour": [1, 2, 3, 4]}), 'no condition "colour"'),
        (showers(0, N + 1), "more came"),
    ],
)
def test_bad_showers_are_not_written(tmp_path: Path, rows: tuple[Any, dict[str, Any]], words: str) -> None:
    with make(tmp_path / "a.h5") as writer, pytest.raises(DataError) as caught:
        writer.append(*rows)
    assert words in str(caught.value)


def test_geometries_of_ones_own_travel_with_the_file_however_large(tmp_path: Path) -> None:
    edges = tuple(float(x) + 0.123456789 for x in range(6000))
    own = Geometry("own", (CartesianLayer(0, (0.0, 1.0), edges),), threshold=0.5)
    with ShowerWriter(tmp_path / "own.h5", own, 3) as writer:
        writer.append(np.ones((3, own.n_voxels)), {"energy": np.full(3, 6000.0)})
    assert ShowerReader(tmp_path / "own.h5").geometry == own
