"""Writing arrays in blocks: what comes out, resuming after a kill, full disks, other arrays and foreign files."""

import errno
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from maquette.data_specs.errors import DataError
from maquette.data_specs.hdf5.blocks import BlockWriter

N = 205
KEEP = {"seed": 7, "source": "test"}


def boxes(start: int, stop: int) -> dict[str, np.ndarray]:
    """Complex fields, masks and labels as a function of their index."""
    field = np.arange(24 * start, 24 * stop, dtype=np.float64).reshape(-1, 2, 3, 4)
    return {
        "field": (np.sin(field) + 1j * np.cos(field)).astype(np.complex64),
        "mask": np.arange(5 * start, 5 * stop).reshape(-1, 5) % 3 == 0,
        "label": np.arange(start, stop, dtype=np.int16),
    }


def fill(writer: BlockWriter, batch: int = 16, until: int = N) -> None:
    while writer.written < until:
        writer.append(boxes(writer.written, min(writer.written + batch, until)))


def make(path: Path, **options: Any) -> BlockWriter:
    return BlockWriter(path, N, KEEP, **{"chunk": 10, "things": "boxes", **options})


@pytest.mark.parametrize(("chunk", "compression"), [(10, 1), (500, 1), (7, 0)])
def test_arrays_of_any_shape_and_type_come_out_as_they_went_in(tmp_path: Path, chunk: int, compression: int) -> None:
    file = tmp_path / "deep" / "boxes.h5"
    with make(file, chunk=chunk, compression=compression) as writer:
        fill(writer)
    with h5py.File(file) as source:
        assert set(source) == set(boxes(0, 1))
        for name, values in boxes(0, N).items():
            assert source[name].dtype == values.dtype
            assert source[name].fletcher32
            np.testing.assert_array_equal(source[name][:], values)
        assert (source.attrs["source"], source.attrs["n"]) == ("test", N)
    assert sorted(path.name for path in file.parent.iterdir()) == ["boxes.h5"]


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
        with pytest.raises(DataError, match="holds 205 boxes"):
            writer.append(boxes(0, 1))
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
        BlockWriter(tmp_path / "a.h5", N, {**KEEP, "seed": 8}, chunk=10)


def test_two_writers_of_one_file_exclude_each_other(tmp_path: Path) -> None:
    with make(tmp_path / "a.h5"), pytest.raises(DataError, match="another process"):
        make(tmp_path / "a.h5")


@pytest.mark.parametrize(("before", "kept"), [(90, 80), (200, 200)])
def test_a_full_disk_is_a_sentence_and_costs_nothing_written_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int, kept: int
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with make(tmp_path / "a.h5") as writer:
        fill(writer, until=before)
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(DataError, match=rf"disk is full .* {kept} boxes are kept"):
            fill(writer)
    monkeypatch.undo()
    assert not (tmp_path / "a.h5").exists()
    with make(tmp_path / "a.h5") as writer:
        assert writer.written == kept
        fill(writer)
    with h5py.File(tmp_path / "a.h5") as file:
        assert len(file["field"]) == N


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"field": np.zeros((4, 2, 3, 5), np.complex64)}, "needs the same arrays"),
        ({"field": np.zeros((4, 2, 3, 4), np.complex128)}, "needs the same arrays"),
        ({"label": np.zeros(3, np.int16)}, "as many rows each"),
        ({"label": np.array(["a"] * 4, object)}, "expected label to hold numbers"),
        ({"extra": np.zeros((4, 0))}, "expected extra to hold numbers, one or more in each row"),
        ({"a/b": np.zeros(4)}, "expected a/b"),
    ],
)
def test_other_arrays_are_not_written(tmp_path: Path, changes: dict[str, np.ndarray], words: str) -> None:
    with make(tmp_path / "a.h5") as writer:
        fill(writer, until=40)
    with make(tmp_path / "a.h5") as writer:  # what the first blocks hold is known again
        with pytest.raises(DataError, match=words):
            writer.append(boxes(40, 44) | changes)
        fill(writer)
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["label"][:], boxes(0, N)["label"])


def test_a_damaged_block_is_named(tmp_path: Path) -> None:
    with make(tmp_path / "a.h5") as writer:
        fill(writer, until=40)
    (tmp_path / "a.h5.partial" / "00000000.h5").write_bytes(b"not HDF5")
    for _ in range(2):  # the lock is given back
        with pytest.raises(DataError, match=r"00000000.h5: damaged .*; remove the folder"):
            make(tmp_path / "a.h5")
