"""Digests of data files are taken once for each content, and never taken over for another."""

import os
import shutil

import pytest
import toy
from maquette.data_specs.errors import DataError
from maquette.pipelines.fit import fit
from maquette.pipelines.run.digests import whole_digest

TOY = toy.Toy()
SETTLED = 10**9  # seconds since 1970: long ago, so that nothing is in doubt


@pytest.fixture
def read(monkeypatch, folder):
    """How often a digest was taken of data, with a cache of one's own."""
    count, digest = [], toy.ToyData.digest.fget
    monkeypatch.setattr(toy.ToyData, "digest", property(lambda self: count.append(1) or digest(self)))
    monkeypatch.setattr("maquette.pipelines.run.digests._NANOSECONDS_OF_DOUBT", -(10**18))
    monkeypatch.setenv("MAQUETTE_CACHE", str(folder / "cache"))
    return count


def taken(file, **options):
    return whole_digest(TOY, file, TOY.open(file, {}), options)


def test_two_fits_take_the_digest_of_their_data_once(data, folder, read):
    shutil.copy(data, "x.h5")
    for run in ("a", "b"):
        fit("toy", data="x.h5", out=run, overrides=["tracking=none", "training.steps=2"])
    assert len(read) == 1
    assert fit("toy", data="x.h5", out="a", resume=True).already
    assert len(read) == 1


def test_a_file_that_changed_in_any_way_is_read_again(data, broken, folder, read):
    shutil.copy(data, "x.h5")
    first = taken("x.h5")
    assert taken("x.h5") == first
    assert taken("x.h5", geometry="flat") == first  # read in another way, it might be another content
    assert len(read) == 2
    os.utime("x.h5", (SETTLED, SETTLED))
    assert taken("x.h5") == first
    assert len(read) == 3
    shutil.copy(broken, "y.h5")
    os.utime("y.h5", (SETTLED, SETTLED))
    os.replace("y.h5", "x.h5")  # the same name and time of change
    assert taken("x.h5") == TOY.open("x.h5", {}).digest != first


def test_a_file_that_changed_just_now_is_not_trusted_to_be_through(data, folder, read, monkeypatch):
    monkeypatch.setattr("maquette.pipelines.run.digests._NANOSECONDS_OF_DOUBT", 10**18)
    shutil.copy(data, "x.h5")
    assert taken("x.h5") == taken("x.h5")
    assert len(read) == 2


def test_a_cache_that_is_damaged_or_cannot_be_written_costs_time_alone(data, folder, read, monkeypatch):
    shutil.copy(data, "x.h5")
    first = taken("x.h5")
    (kept,) = (folder / "cache" / "digests").iterdir()
    kept.write_text('{"state": [1], "sha25')
    assert taken("x.h5") == first
    (folder / "file").touch()
    monkeypatch.setenv("MAQUETTE_CACHE", str(folder / "file"))
    assert taken("x.h5") == first
    assert len(read) == 3


def test_what_cannot_be_read_is_not_kept(data, folder, read, monkeypatch):
    shutil.copy(data, "x.h5")

    def damaged(self):
        raise DataError("x.h5: row 7 is damaged.")

    with monkeypatch.context() as patch:
        patch.setattr(toy.ToyData, "digest", property(damaged))
        with pytest.raises(DataError, match="row 7"):
            taken("x.h5")
    assert not (folder / "cache").exists()
