"""One fit at a time works in a run's folder; a dead one's place is taken, and one that lost its place notices."""

import os
import subprocess
import sys
import time

import pytest
from maquette.core.errors import ArtifactError, ConfigError, TrainingError
from maquette.pipelines.run import lease as module
from maquette.pipelines.run.folder import LEASE as FILE
from maquette.pipelines.run.lease import PATIENCE, Owner, lease


def leave(folder, *, host=None, pid=None, silent=0.0):
    """A lease that somebody else has left in the folder."""
    folder.mkdir(exist_ok=True)
    file = folder / FILE
    Owner(host=host or os.uname().nodename, pid=pid or os.getppid(), since="noon", token="t").write(file)
    os.utime(file, (time.time() - silent,) * 2)


@pytest.fixture(scope="module")
def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_second_fit_is_refused_and_the_folder_is_free_afterwards(tmp_path):
    with lease(tmp_path), pytest.raises(ConfigError, match=rf"another fit works here \(process {os.getpid()} on"):
        lease(tmp_path).__enter__()
    assert list(tmp_path.iterdir()) == []
    with lease(tmp_path) as held:
        assert not held.lost


def test_a_living_owner_is_respected_whether_it_is_here_or_elsewhere(tmp_path):
    for owner in ({}, {"host": "node7", "pid": 1}, {"host": "node7", "pid": 1, "silent": PATIENCE / 2}):
        leave(tmp_path, **owner)
        with pytest.raises(ConfigError, match=r"Wait until it has ended, stop it, or give another --out"):
            lease(tmp_path).__enter__()
        assert Owner.read(tmp_path / FILE).token == "t"
        assert os.listdir(tmp_path) == [FILE]


def test_folders_that_were_made_for_nothing_are_removed(tmp_path):
    with lease(tmp_path / "runs" / "a"):
        pass
    assert list(tmp_path.iterdir()) == []
    with lease(tmp_path / "runs" / "a"):
        (tmp_path / "runs" / "a" / "config.yaml").touch()
    assert (tmp_path / "runs" / "a" / "config.yaml").exists()


def test_a_dead_owners_place_is_taken(tmp_path, dead_pid):
    for owner in ({"pid": dead_pid}, {"host": "node7", "pid": 1, "silent": 2 * PATIENCE}):
        leave(tmp_path, **owner)
        with lease(tmp_path):
            assert Owner.read(tmp_path / FILE).pid == os.getpid()
        assert list(tmp_path.iterdir()) == []


def test_whoever_slept_too_long_notices_and_leaves_the_new_owner_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SECONDS_BETWEEN_SIGNS", 0.01)
    with lease(tmp_path) as held:
        (tmp_path / FILE).unlink()
        leave(tmp_path)
        until = time.monotonic() + 10
        while not held.lost and time.monotonic() < until:
            time.sleep(0.01)
        with pytest.raises(TrainingError, match="another process has taken this run over"):
            held.row({})
    assert Owner.read(tmp_path / FILE).token == "t"


def test_an_owner_gives_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SECONDS_BETWEEN_SIGNS", 0.01)
    with lease(tmp_path):
        os.utime(tmp_path / FILE, (1, 1))
        until = time.monotonic() + 10
        while (tmp_path / FILE).stat().st_mtime < 2 and time.monotonic() < until:
            time.sleep(0.01)
        assert (tmp_path / FILE).stat().st_mtime > 2


def test_a_file_system_without_links_will_do(tmp_path, monkeypatch):
    def link(*_):
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", link)
    with lease(tmp_path), pytest.raises(ConfigError, match="another fit works here"):
        lease(tmp_path).__enter__()


def test_a_damaged_lease_is_a_sentence(tmp_path):
    (tmp_path / FILE).write_text("{}")
    with pytest.raises(ArtifactError, match=r"damaged.*remove it if no fit works in this folder"):
        lease(tmp_path).__enter__()
