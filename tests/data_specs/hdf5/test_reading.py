"""Reading arrays by rows, and files that are not to be trusted."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from maquette.data_specs.errors import DataError
from maquette.data_specs.hdf5.reading import StoredArray, common_length, gather, open_hdf5, ranges

FIELD = (np.arange(60 * 8) * (1 + 2j)).reshape(60, 2, 4).astype(np.complex64)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "good.h5", "w") as file:
        file.create_dataset("field", data=FIELD, chunks=(8, 2, 4), fletcher32=True)
        file["label"] = np.arange(60)
    return tmp_path / "good.h5"


def test_rows_are_gathered_in_any_order_and_each_chunk_is_read_once(good: Path) -> None:
    reads: list[tuple[int, int]] = []
    with open_hdf5(good, "boxes") as file:
        arrays = {name: StoredArray.of(file, name) for name in file}
        assert common_length(arrays.values(), "boxes") == 60

        def read(start: int, stop: int) -> dict[str, np.ndarray]:
            reads.append((start, stop))
            return {name: array.read(start, stop) for name, array in arrays.items()}

        index = np.array([59, 3, 8, 7, 3, 15])
        found = gather(read, index, arrays["field"].rows_per_chunk)
        np.testing.assert_array_equal(found["field"], FIELD[index])
        np.testing.assert_array_equal(found["label"], index)
        assert reads == [(3, 8), (8, 16), (59, 60)]
        assert gather(read, index[:0], 8)["field"].shape == (0, 2, 4)
        assert list(ranges(3, 40, step=20, chunk=8)) == [(3, 19), (19, 35), (35, 40)]


def test_damage_is_narrowed_down_to_a_chunk(good: Path) -> None:
    with h5py.File(good) as file:
        where = file["field"].id.get_chunk_info(2).byte_offset
    with good.open("r+b") as stream:
        stream.seek(where)
        stream.write(b"\xff\x00\xff")
    with open_hdf5(good, "boxes") as file:
        array = StoredArray.of(file, "field")
        np.testing.assert_array_equal(array.read(0, 16), FIELD[:16])
        with pytest.raises(DataError, match=r"rows 16 \.\. 23 of field cannot be read \(checksum"):
            array.read(3, 60)


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((5, 2), np.float64)
    layout[:] = h5py.VirtualSource("elsewhere.h5", "x", shape=(5, 2))
    file.create_virtual_dataset("x", layout)


def text(file: h5py.File) -> None:
    file["x"] = np.array(["a", "b"], dtype=h5py.string_dtype())


@pytest.mark.parametrize(
    ("put", "words"),
    [
        (lambda file: file.__setitem__("x", h5py.ExternalLink("elsewhere.h5", "x")), "x is a link to another place"),
        (lambda file: file.__setitem__("x", h5py.SoftLink("/y")), "x is a link to another place"),
        (lambda file: file.create_group("x"), "expected x to hold numbers, found a group"),
        (text, "expected x to hold numbers, found numbers of type object"),
        (lambda file: file.create_dataset("x", data=3.0), "of shape (n, ...), found ()"),
        (lambda file: file.create_dataset("x", (4, 0), np.float32), "of shape (n, ...), found (4, 0)"),
        (lambda file: file.create_dataset("x", (5, 2), np.float32, external="raw.bin"), "data of x are in other files"),
        (virtual, "data of x are in other files"),
        (lambda file: file.create_dataset("x", (1, 2**28), np.float64, chunks=(1, 1024)), "takes 2048 MiB"),
        (lambda file: file.create_dataset("x", (2**20, 2**9), np.float32, chunks=(2**20, 2**9)), "takes 2048 MiB"),
    ],
)
def test_what_is_not_plain_rows_of_numbers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, put: Callable[[h5py.File], object], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with h5py.File("bad.h5", "w") as file:
        put(file)
    with open_hdf5("bad.h5", "boxes") as file, pytest.raises(DataError) as caught:
        StoredArray.of(file, "x")
    assert words in str(caught.value)
    assert "bad.h5" in str(caught.value)


def test_complex_numbers_are_refused_where_real_ones_are_meant(good: Path) -> None:
    with (
        open_hdf5(good, "boxes") as file,
        pytest.raises(DataError, match="real numbers, found numbers of type complex64"),
    ):
        StoredArray.of(file, "field", kinds="fiu")


@pytest.mark.parametrize(("lengths", "words"), [((3, 4), "as many rows as the others"), ((0, 0), "has no boxes")])
def test_arrays_need_as_many_rows(tmp_path: Path, lengths: tuple[int, int], words: str) -> None:
    with h5py.File(tmp_path / "bad.h5", "w") as file:
        for name, length in zip("ab", lengths, strict=True):
            file.create_dataset(name, (length, 2), np.float32)
    with open_hdf5(tmp_path / "bad.h5", "boxes") as file, pytest.raises(DataError, match=words):
        common_length([StoredArray.of(file, name) for name in file], "boxes")
