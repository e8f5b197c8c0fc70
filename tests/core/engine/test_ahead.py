"""Batches are read ahead in a thread: the same samples, errors at their step, and no thread that stays."""

import os
import signal
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import pytest
import torch
from maquette.core.data import Batch, Source, TensorSource
from maquette.core.engine import loop
from maquette.core.engine.ahead import Ahead, one_thread
from maquette.core.engine.batch_order import BatchOrder
from maquette.core.engine.feed import Feed, Turn
from maquette.core.engine.loop import fit
from maquette.core.engine.plan import OptimizerConfig, ParallelConfig, Plan, TrainingConfig
from maquette.core.engine.resident import Resident
from maquette.core.errors import Interrupted
from maquette.core.objective import Player, Stage
from maquette.core.testing.odd_toys import translation_plan, translation_sources
from maquette.core.testing.toys import Denoising, denoiser_plan, denoiser_source, wasserstein_plan
from maquette.core.testing.training import rows
from torch import Tensor, nn

FLOAT64 = ParallelConfig(precision="float64")


class Watched:
    """A source that notes which samples are read, and in which threads."""

    def __init__(self, source: Source, bad: int | None = None) -> None:
        self.source, self.bad = source, bad
        self.read: list[list[int]] = []
        self.threads: set[int] = set()
        self.inside = 0

    def __len__(self) -> int:
        return len(self.source)

    def fetch(self, index: Tensor) -> Batch:
        assert self.inside == 0, "two threads read at once"
        self.inside += 1
        self.threads.add(threading.get_ident())
        self.read.append(index.tolist())
        self.inside -= 1
        if self.bad is not None and len(self.read) == self.bad:
            raise OSError("a chunk is damaged")
        return self.source.fetch(index)


def just_in_time(self: Feed, step: int, turn: int) -> Turn:
    """What `Feed.turn` returns, without a thread."""
    draw = self.draws.draw(step, turn)
    pieces = self.readers[turn].split(len(draw))
    return Turn(len(draw), pieces, lambda number: self.readers[turn].move(draw.fetch(pieces[number].place)))


def lbfgs_plan(parallel: ParallelConfig, micro_batch: int | None = None) -> Plan:
    """One stage whose optimiser reads each batch several times."""
    torch.manual_seed(1)
    network = nn.Linear(3, 3)
    options = OptimizerConfig(kind="lbfgs", lr=0.5)
    training = TrainingConfig(
        steps=6, batch_size=11, micro_batch=micro_batch, optimizer=options, log_every=1, parallel=parallel
    )
    return training.plan([Stage("fit", (Player("model", Denoising(network), (network,)),))])


PLANS = {
    "one player": (denoiser_plan, denoiser_source),
    "two players": (wasserstein_plan, denoiser_source),
    "two sources": (translation_plan, translation_sources),
    "several evaluations": (lbfgs_plan, denoiser_source),
}


@pytest.mark.parametrize(("case", "micro"), [*((case, 4) for case in PLANS), ("several evaluations", None)])
def test_losses_are_those_of_reading_in_time_to_the_bit(
    case: str, micro: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_plan, make_source = PLANS[case]
    fit(make_plan(FLOAT64, micro), make_source(), tmp_path / "ahead", seed=3)
    monkeypatch.setattr(Feed, "turn", just_in_time)
    fit(make_plan(FLOAT64, micro), make_source(), tmp_path / "in time", seed=3)
    assert rows(tmp_path / "ahead") == rows(tmp_path / "in time")


def test_each_batch_is_read_once_in_one_thread_that_ends(tmp_path: Path) -> None:
    source, before = Watched(denoiser_source()), threading.active_count()
    fit(wasserstein_plan(FLOAT64, 4), source, tmp_path, seed=3)
    order = BatchOrder(45, 11, seed=3)
    expected = [piece.tolist() for draw in range(3 * 30) for piece in order.batch(draw).split(4)]
    assert source.read == expected  # and nothing beyond the last step
    assert len(source.threads) == 1
    assert threading.get_ident() not in source.threads
    assert threading.active_count() == before


class Steps:
    """Counts the steps whose rows were written; raises or sends a signal after one of them."""

    def __init__(self, last: int, raises: bool = False) -> None:
        self.taken, self.last, self.raises = 0, last, raises

    def stage(self, name: str, steps: int) -> None:
        pass

    def row(self, row: Mapping[str, Any]) -> None:
        self.taken = int(row["step"])
        if self.taken == self.last and self.raises:
            raise ZeroDivisionError
        if self.taken == self.last:
            os.kill(os.getpid(), signal.SIGTERM)

    def checkpoint(self, step: int) -> None:
        pass


def test_an_error_in_the_thread_is_raised_at_the_step_that_needs_the_batch(tmp_path: Path) -> None:
    source, before, steps = Watched(denoiser_source(), bad=6), threading.active_count(), Steps(99)
    with pytest.raises(OSError, match="a chunk is damaged"):
        fit(denoiser_plan(FLOAT64, None), source, tmp_path, seed=3, listeners=[steps])
    assert steps.taken == 5  # the sixth batch could not be read
    assert threading.active_count() == before


@pytest.mark.parametrize("raises", [True, False])
def test_an_error_or_a_signal_in_the_loop_ends_the_thread(raises: bool, tmp_path: Path) -> None:
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError if raises else Interrupted):
        fit(denoiser_plan(FLOAT64, None), denoiser_source(), tmp_path, seed=3, listeners=[Steps(4, raises)])
    assert threading.active_count() == before


class FileSource:
    """Rows of a dataset in an HDF5 file, read in the order in which they are asked for."""

    def __init__(self, data: h5py.Dataset) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def fetch(self, index: Tensor) -> Batch:
        return Batch(torch.stack([torch.from_numpy(self.data[row]) for row in index.tolist()]), None, index)


def test_a_file_is_read_in_the_thread_and_evaluated_in_the_loop(tmp_path: Path) -> None:
    source = denoiser_source()
    assert isinstance(source.x, Tensor)
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["x"] = source.x.numpy()
    for name, given in (("memory", source), ("file", None)):
        with h5py.File(tmp_path / "data.h5") as file:
            data = file["x"]
            assert isinstance(data, h5py.Dataset)
            read = given or FileSource(data)
            evaluator = loop_evaluator(read)
            fit(denoiser_plan(FLOAT64, 3), read, tmp_path / name, seed=3, evaluator=evaluator)
    assert rows(tmp_path / "memory") == rows(tmp_path / "file")
    os.remove(tmp_path / "data.h5")


def loop_evaluator(source: Source) -> Any:
    """Reads the source itself, as held-out data of the same file are read."""

    class Mean:
        every = 2

        def __call__(self, noise: object) -> Mapping[str, float]:
            x = source.fetch(torch.arange(len(source))).x
            assert isinstance(x, Tensor)
            return {"mean": x.mean().item()}

    return Mean()


def test_the_loop_waits_for_the_thread_before_it_evaluates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settled: list[bool] = []
    monkeypatch.setattr(Feed, "settle", lambda self: settled.append(True))
    fit(denoiser_plan(FLOAT64), denoiser_source(), tmp_path, seed=3, evaluator=loop_evaluator(denoiser_source()))
    assert len(settled) == 2 * 13  # every second of 25 steps and the last one, in two stages


def test_settling_waits() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def function(key: int) -> tuple[int, int | None]:
        if key == 1:
            begun.set()
            assert go_on.wait(10)
        return key, key + 1

    with Ahead(function) as ahead:
        ahead.get(0)
        assert begun.wait(10)
        threading.Timer(0.05, go_on.set).start()
        ahead.settle()
        assert go_on.is_set()


def test_the_order_of_the_next_epoch_is_computed_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: dict[int, int] = {}
    compute = BatchOrder._permutation

    def noted(self: BatchOrder, epoch: int) -> Tensor:
        threads[epoch] = threading.get_ident()
        return compute(self, epoch)

    monkeypatch.setattr(BatchOrder, "_permutation", noted)
    alone = [BatchOrder(100, 10, seed=0).batch(draw) for draw in range(35)]
    threads.clear()
    with ThreadPoolExecutor(1) as beside:
        order = BatchOrder(100, 10, seed=0, beside=beside)
        found = [order.batch(draw) for draw in range(4)]
        assert set(threads) == {0}  # a fit that ends here has computed no order in vain
        found += [order.batch(draw) for draw in range(4, 9)]
        beside.submit(lambda: None).result()
        assert set(threads) == {0, 1}  # before the epoch ends
        found += [order.batch(draw) for draw in range(9, 35)]
    assert threading.get_ident() not in threads.values()
    assert all(torch.equal(one, other) for one, other in zip(alone, found, strict=True))
    assert len(order._permutations) <= 3


def test_work_beside_the_step_takes_one_core_and_leaves_the_others_theirs() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread() as thread:
            assert thread.submit(torch.get_num_threads).result() == 1
        assert torch.get_num_threads() == 2
        with ThreadPoolExecutor(1) as later:
            assert later.submit(torch.get_num_threads).result() == 2
    finally:
        torch.set_num_threads(before)


def test_a_resident_source_gives_the_same_losses_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit(translation_plan(FLOAT64, 4), translation_sources(), tmp_path / "read", seed=3)
    moved: list[Source] = []

    def resident(sources: Mapping[str, Source], device: torch.device, budget: int) -> Mapping[str, Source]:
        found = {name: Resident(source, device) for name, source in sources.items()}
        moved.extend(found.values())
        return found

    monkeypatch.setattr(loop, "resident", resident)
    fit(translation_plan(FLOAT64, 4), translation_sources(), tmp_path / "resident", seed=3)
    assert len(moved) == 2
    assert rows(tmp_path / "read") == rows(tmp_path / "resident")


def test_a_resident_source_holds_all_of_a_batch() -> None:
    source = TensorSource({"a": torch.randn(9000, 2), "b": torch.arange(9000)}, torch.randn(9000, 1))
    index = torch.tensor([8999, 0, 4096])
    one, other = source.fetch(index), Resident(source, "cpu").fetch(index)
    assert isinstance(one.x, dict)
    assert isinstance(other.x, dict)
    assert all(torch.equal(one.x[name], other.x[name]) for name in one.x)
    assert isinstance(one.condition, Tensor)
    assert isinstance(other.condition, Tensor)
    assert torch.equal(one.condition, other.condition)
    assert torch.equal(other.index, index)


@pytest.mark.parametrize(("budget", "expected"), [(0, ""), (80, "a"), (119, "a"), (120, "ab"), (60, "b")])
def test_sources_are_resident_as_far_as_the_budget_goes(budget: int, expected: str) -> None:
    sources = {"a": TensorSource(torch.zeros(20)), "b": TensorSource(torch.zeros(10))}
    found = loop.resident(sources, torch.device("meta"), budget)  # a device other than the CPU that is always there
    assert "".join(name for name, source in found.items() if isinstance(source, Resident)) == expected
