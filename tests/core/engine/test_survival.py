"""Fits survive what happens to them: kills, signals, full disks, NaN, lost peers, damaged checkpoints."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from maquette.core.checksum import seal, unseal
from maquette.core.data import Batch, TensorSource
from maquette.core.engine import storage
from maquette.core.engine.checkpoint import Checkpoints
from maquette.core.engine.loop import fit
from maquette.core.engine.losses import FILE as LOSSES
from maquette.core.engine.losses import read_rows
from maquette.core.engine.plan import ParallelConfig, Plan
from maquette.core.engine.state import model_tensors
from maquette.core.engine.storage import read_index
from maquette.core.engine.world import World
from maquette.core.errors import Interrupted, TrainingError
from maquette.core.testing.toys import denoiser_plan, denoiser_source, wasserstein_plan
from maquette.core.testing.training import Crew, reference
from maquette.core.testing.worker import Job

FLOAT64 = ParallelConfig(precision="float64")

ATTEMPTS = [
    ("before a step", 2),
    ("within a row", 2),
    ("within the tensors", 1),
    ("before the renaming", 1),
    ("after the renaming", 1),
    ("within a row", 3),
    ("before a flush", 2),
    ("within the tensors", 2),
    ("within the removal of an old one", 1),
    ("any call", 9000),
    ("before the directory's flush", 2),
    ("after the renaming", 4),
    ("before a step", 8),
    ("any call", 17000),
    ("within the removal of an old one", 3),
    ("before a flush", 5),
    ("any call", 23000),
    ("after the renaming", 5),
    ("within the tensors", 3),
    ("before the renaming", 2),
]


class Listening:
    """Does something at rows of a step, or at every checkpoint."""

    def __init__(self, step: int = 0, on_row: Any = None, on_checkpoint: Any = None) -> None:
        self.step, self.on_row, self.on_checkpoint = step, on_row, on_checkpoint

    def stage(self, name: str, steps: int) -> None:
        pass

    def row(self, row: Mapping[str, Any]) -> None:
        if self.on_row and row["step"] == self.step:
            self.on_row()

    def checkpoint(self, step: int) -> None:
        if self.on_checkpoint:
            self.on_checkpoint()


def weights(plan: Plan) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model_tensors(plan).items()}


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return read_rows(folder / "losses.jsonl", pace=False)


def uninterrupted(plan: Plan, folder: Path) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor]]:
    fit(plan, denoiser_source(), folder, seed=3)
    return rows_of(folder), weights(plan)


def checkpoints(folder: Path) -> list[str]:
    return Checkpoints(folder, 2, World()).names()


def test_twenty_kills_leave_no_trace(tmp_path: Path) -> None:
    assert len(ATTEMPTS) == 20
    command = [sys.executable, str(Path(__file__).with_name("engine_kills.py")), str(tmp_path), json.dumps(ATTEMPTS)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == [str(int(signal.SIGKILL))] * 20
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    assert rows_of(killed) == rows_of(whole)
    assert (killed / "weights").read_bytes() == (whole / "weights").read_bytes()
    assert sorted(os.listdir(tmp_path / "killed" / "checkpoints")) == ["step-00000049", "step-00000050"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_the_state_of_the_step(number: signal.Signals, tmp_path: Path) -> None:
    before = signal.getsignal(number)
    listener = Listening(7, on_row=lambda: os.kill(os.getpid(), number))
    with pytest.raises(Interrupted, match="after step 8 of stage"):
        fit(denoiser_plan(FLOAT64), denoiser_source(), tmp_path, seed=3, listeners=[listener])
    assert checkpoints(tmp_path) == ["step-00000008"]
    assert signal.getsignal(number) == before
    assert Interrupted.EXIT_CODE == os.EX_TEMPFAIL


def test_a_full_disk_costs_nothing_that_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(tensors: Any, file: Path) -> None:
        file.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    def fill() -> None:
        monkeypatch.setattr(storage, "save_file", no_space)

    plan = denoiser_plan(FLOAT64)
    with pytest.raises(TrainingError, match=r"step-00000020: the disk is full; the checkpoint step-00000010 is intact"):
        fit(plan, denoiser_source(), tmp_path / "a", seed=3, listeners=[Listening(on_checkpoint=fill)])
    assert os.listdir(tmp_path / "a" / "checkpoints") == ["step-00000010"]
    monkeypatch.undo()
    _assert_resumes_to_the_end(tmp_path)


def test_a_full_file_system_costs_nothing_that_was_saved(tmp_path: Path) -> None:
    small = tmp_path / "a" / "checkpoints"
    small.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here (not permitted)")
    try:
        filler = small / "filler"

        def fill() -> None:
            free = os.statvfs(small)
            filler.write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - 4096)))

        plan = denoiser_plan(FLOAT64)
        with pytest.raises(TrainingError, match=r"the disk is full; the checkpoint step-00000010 is intact"):
            fit(plan, denoiser_source(), tmp_path / "a", seed=3, listeners=[Listening(on_checkpoint=fill)])
        assert sorted(os.listdir(small)) == ["filler", "step-00000010"]
        filler.unlink()
        _assert_resumes_to_the_end(tmp_path)
    finally:
        subprocess.run(["umount", small], check=True)


def _assert_resumes_to_the_end(folder: Path) -> None:
    plan = denoiser_plan(FLOAT64)
    fit(plan, denoiser_source(), folder / "a", seed=3, resume=True)
    rows, expected = uninterrupted(denoiser_plan(FLOAT64), folder / "b")
    assert rows_of(folder / "a") == rows
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(plan).items())


class Faulty:
    """A source whose sample 17 is NaN from the n-th time on that it is fetched."""

    def __init__(self, source: TensorSource, time: int) -> None:
        self.source, self.time, self.fetched = source, time, 0

    def __len__(self) -> int:
        return len(self.source)

    def fetch(self, index: torch.Tensor) -> Batch:
        batch = self.source.fetch(index)
        self.fetched += int((index == 17).any())
        if self.fetched < self.time:
            return batch
        return batch.map(lambda x: torch.where((index == 17)[:, None], torch.nan, x))


@pytest.mark.parametrize("time", [4, 5, 6])
def test_nan_names_step_and_sample_and_the_state_before_is_kept(time: int, tmp_path: Path) -> None:
    """In any turn of a step: two of the critic and one of the generator."""
    plan = wasserstein_plan(FLOAT64)
    with pytest.raises(
        TrainingError, match=r'player "(critic|generator)", step \d+: .* samples \[17\] \(global indices\)'
    ):
        fit(plan, Faulty(denoiser_source(), time), tmp_path / "a", seed=3)
    assert all(torch.isfinite(tensor).all() for tensor in weights(plan).values())
    assert len(checkpoints(tmp_path / "a")) == 1
    fixed = wasserstein_plan(FLOAT64)
    fit(fixed, denoiser_source(), tmp_path / "a", seed=3, resume=True)
    rows, expected = uninterrupted(wasserstein_plan(FLOAT64), tmp_path / "b")
    assert rows_of(tmp_path / "a") == rows
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(fixed).items())


class Deadly:
    """A source that kills the second process at its twelfth batch."""

    def __init__(self, source: TensorSource) -> None:
        self.source, self.fetched = source, 0

    def __len__(self) -> int:
        return len(self.source)

    def fetch(self, index: torch.Tensor) -> Batch:
        self.fetched += 1
        if self.fetched == 12 and os.environ.get("RANK") == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        return self.source.fetch(index)


def deadly_source() -> Deadly:
    return Deadly(denoiser_source())


def test_a_lost_peer_is_an_error_within_a_minute(tmp_path: Path) -> None:
    job = Job(reference(denoiser_plan), reference(deadly_source), str(tmp_path / "a"))
    with (
        pytest.raises(AssertionError, match=r"TrainingError\('Another process of this fit is gone"),
        Crew(2, timeout=60) as crew,
    ):
        crew.run(job)


def _stopped(folder: Path) -> Path:
    """A fit with checkpoints after 10 and 20 steps; returns the newest."""
    listener = Listening(19, on_row=lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        fit(denoiser_plan(FLOAT64), denoiser_source(), folder, seed=3, listeners=[listener])
    return folder / "checkpoints" / checkpoints(folder)[-1]


def _resume(folder: Path, plan: Plan | None = None, seed: int = 3) -> None:
    fit(plan or denoiser_plan(FLOAT64), denoiser_source(), folder, seed=seed, resume=True)


def test_damaged_checkpoints_are_refused_and_the_one_before_can_be_resumed(tmp_path: Path) -> None:
    newest = _stopped(tmp_path)
    tensors = newest / "rank-00000.safetensors"
    index = newest / "state.json"
    whole, text = tensors.read_bytes(), index.read_text()

    tensors.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TrainingError, match=r"damaged.*remove the folder"):
        _resume(tmp_path)
    tensors.write_bytes(whole)
    index.write_text(text[: len(text) // 2])
    with pytest.raises(TrainingError, match=r"not readable as the index.*remove the folder"):
        _resume(tmp_path)
    index.write_text(text.replace("rank-00000.safetensors", "../../rank-00000.safetensors"))
    with pytest.raises(TrainingError, match="names a file"):
        _resume(tmp_path)

    for file in newest.iterdir():
        file.unlink()
    newest.rmdir()
    _resume(tmp_path)
    rows, _ = uninterrupted(denoiser_plan(FLOAT64), tmp_path / "b")
    assert rows_of(tmp_path) == rows


def test_a_flipped_bit_anywhere_in_a_checkpoint_or_the_kept_rows_is_an_error(tmp_path: Path) -> None:
    newest = _stopped(tmp_path)
    draws = torch.Generator().manual_seed(0)
    kept = read_index(newest)["losses"]["bytes"]
    for file, end in ((newest / "rank-00000.safetensors", None), (newest / "state.json", None), (LOSSES, kept)):
        file = tmp_path / file
        whole = file.read_bytes()
        for bit in torch.randint(8 * (end or len(whole)), (25,), generator=draws).tolist():
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            file.write_bytes(flipped)
            with pytest.raises(TrainingError, match=r"damaged|not readable as the index|names a file|schema|not those"):
                _resume(tmp_path)
        file.write_bytes(whole)
    _resume(tmp_path)


@pytest.mark.parametrize(
    "position", [{"stage": 99}, {"stage": 0, "step": -5}, {"stage": 0, "step": 10**21}, {"steps": 3}, [0, 1, 2], "0"]
)
def test_a_sealed_checkpoint_of_no_position_is_refused(position: Any, tmp_path: Path) -> None:
    index = _stopped(tmp_path) / "state.json"
    content = unseal(json.loads(index.read_text()))
    index.write_text(json.dumps(seal(content | {"position": position})))
    with pytest.raises(TrainingError, match="expected a position in the 2 stages of the plan"):
        _resume(tmp_path)
    del content["sums"]
    index.write_text(json.dumps(seal(content)))
    with pytest.raises(TrainingError, match="holds no sums"):
        _resume(tmp_path)


def test_foreign_files_beside_the_checkpoints_are_left_alone(tmp_path: Path) -> None:
    folder = _stopped(tmp_path).parent
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    foreign = [folder / name for name in (".DS_Store", ".nfs0001", "step-00000099", ".step-00000012.tmp")]
    for file in foreign[:3]:
        file.touch()
    foreign[3].symlink_to(elsewhere)
    (folder / "step-00000098").symlink_to(elsewhere)
    (folder / ".step-00000013.tmp").mkdir()
    _resume(tmp_path)
    assert all(file.exists() for file in foreign)
    assert (elsewhere / "kept").exists()
    assert not (folder / ".step-00000013.tmp").exists()


def test_a_fit_is_not_overwritten_nor_resumed_with_other_options(tmp_path: Path) -> None:
    _stopped(tmp_path)
    with pytest.raises(TrainingError, match="holds a fit already"):
        fit(denoiser_plan(FLOAT64), denoiser_source(), tmp_path, seed=3)
    with pytest.raises(TrainingError, match="another config, seed or data set"):
        _resume(tmp_path, seed=4)
    with pytest.raises(TrainingError, match="another config, seed or data set"):
        _resume(tmp_path, denoiser_plan(ParallelConfig()))
    file = tmp_path / "losses.jsonl"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(TrainingError, match="expected at least"):
        _resume(tmp_path)


def test_no_checkpoint_holds_a_pickle(tmp_path: Path) -> None:
    files = sorted(file.name for file in _stopped(tmp_path).iterdir())
    assert files == ["rank-00000.safetensors", "state.json"]
