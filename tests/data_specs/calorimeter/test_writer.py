"""Writing shower files: what comes out, resuming after a kill, full disks and foreign files."""

import errno
import multiprocessing
import os
import signal
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


def fill(writer: ShowerWriter, batch: int = 16, until: int = N) -> None:
    while writer.written < until:
        start = writer.written
        writer.append(*showers(start, min(start + batch, until)))


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


def test_the_bytes_do_not_depend_on_batches_or_interruptions(tmp_path: Path) -> None:
    with make(tmp_path / "a.h5") as writer:
        fill(writer, batch=16)
    for until in (0, 5, 40, 111, 204):
        with make(tmp_path / "b.h5") as writer:
            assert writer.written <= until
            fill(writer, batch=33, until=until)
    assert not (tmp_path / "b.h5").exists()
    with make(tmp_path / "b.h5") as writer:
        assert writer.written == 200  # five whole blocks of 40
        fill(writer)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def _write_until_killed(path: Path, after: int) -> None:
    flush, calls = os.fsync, iter(range(1000))

    def die(descriptor: int) -> None:
        if next(calls) == after:
            os.kill(os.getpid(), signal.SIGKILL)
        flush(descriptor)

    os.fsync = die
    with make(path) as writer:
        fill(writer)


@pytest.mark.parametrize("after", [0, 3, 6])
def test_a_killed_writer_loses_at_most_a_block(tmp_path: Path, after: int) -> None:
    """Killed while a block (0, 3) or the whole (6) is on its way to the disk."""
    process = multiprocessing.get_context("fork").Process(target=_write_until_killed, args=(tmp_path / "a.h5", after))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "a.h5").exists()
    with make(tmp_path / "a.h5") as writer:
        assert writer.written == min(N, 40 * after)
        fill(writer)
    with make(tmp_path / "b.h5") as writer:
        fill(writer)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_finished_file_is_left_as_it_is(tmp_path: Path) -> None:
    with make(tmp_path / "a.h5") as writer:
        fill(writer)
    before = (tmp_path / "a.h5").stat()
    with make(tmp_path / "a.h5") as writer:
        assert writer.written == N
        with pytest.raises(DataError, match="holds 205 showers"):
            writer.append(*showers(0, 1))
    assert (tmp_path / "a.h5").stat().st_mtime_ns == before.st_mtime_ns


def test_foreign_files_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.h5").write_text("my only copy")
    with pytest.raises(DataError, match="other content"):
        make(tmp_path / "thesis.h5")
    assert (tmp_path / "thesis.h5").read_text() == "my only copy"


def test_other_settings_do_not_resume(tmp_path: Path) -> None:
    with make(tmp_path / "a.h5") as writer:
        fill(writer, until=100)
    with pytest.raises(DataError, match="other settings"):
        ShowerWriter(tmp_path / "a.h5", CALOGAN, N, {**KEEP, "seed": 8}, chunk=10)


def test_two_writers_of_one_file_exclude_each_other(tmp_path: Path) -> None:
    with make(tmp_path / "a.h5"), pytest.raises(DataError, match="another process"):
        make(tmp_path / "a.h5")


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


@pytest.mark.parametrize(("before", "kept"), [(90, 80), (200, 200)])
def test_a_full_disk_is_a_sentence_and_costs_nothing_written_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int, kept: int
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with make(tmp_path / "a.h5") as writer:
        fill(writer, until=before)
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(DataError, match=rf"disk is full .* {kept} showers are kept"):
            fill(writer)
    monkeypatch.undo()
    assert not (tmp_path / "a.h5").exists()
    with make(tmp_path / "a.h5") as writer:
        assert writer.written == kept
        fill(writer)
    assert len(ShowerReader(tmp_path / "a.h5")) == N


def test_geometries_of_ones_own_travel_with_the_file_however_large(tmp_path: Path) -> None:
    edges = tuple(float(x) + 0.123456789 for x in range(6000))
    own = Geometry("own", (CartesianLayer(0, (0.0, 1.0), edges),), threshold=0.5)
    with ShowerWriter(tmp_path / "own.h5", own, 3) as writer:
        writer.append(np.ones((3, own.n_voxels)), {"energy": np.full(3, 6000.0)})
    assert ShowerReader(tmp_path / "own.h5").geometry == own
