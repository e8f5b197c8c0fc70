"""The laws of training, for any plan: neither the number of processes nor an interruption changes a fit.

A case is a pair of functions at the top level of a file, so that other processes can import them: `make_plan(parallel)`
builds the plan with the same weights at every call, `make_source()` the samples. Fits run in float64; at the end of
each stage they write the loss over all samples, as if these were held out.

    def test_my_plan_trains_alike_on_two_processes(tmp_path):
        assert_world_size_does_not_matter(make_plan, make_source, tmp_path)

`cases.training_case` makes such a pair of any registered family.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Self

import torch
from safetensors.torch import load_file
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # public, but not in its __all__

from ..engine.losses import FILE, read_rows
from .worker import WEIGHTS, Job, MakePlan, MakeSource, reference, run

KINDS = ("ddp", "fsdp")


class Crew:
    """Processes that run fits together; a context manager.

    They are started once for many fits, because that takes longer than most fits.

    Args:
        processes: how many.
        timeout: seconds to wait for one fit.

    >>> with Crew(processes=2) as crew:  # they start with the first job
    ...     crew.run()
    """

    def __init__(self, processes: int = 2, *, timeout: float = 120) -> None:
        self.processes, self.timeout = processes, timeout
        self._started: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        self._stderr = tempfile.TemporaryFile("w+")
        return self

    def __exit__(self, *failure: object) -> None:
        self._dismiss(kill=failure[0] is not None)
        self._stderr.close()

    def _start(self) -> None:
        # the store by which they find each other is here, on a port that nobody else can take before they start
        self._store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        self._started = [
            subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.worker"],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                text=True,
            )
            for environment in _environments(self.processes, self._store.port)
        ]

    def _dismiss(self, *, kill: bool) -> None:
        for process in self._started:
            if kill:
                process.kill()
            process.communicate()
        self._started = []

    def run(self, *jobs: Job) -> None:
        """Run jobs one after another; raises `AssertionError` with the standard error if one fails or hangs.

        After a failure the next job gets new processes.
        """
        for job in jobs:
            if not self._started:
                self._start()
            line = json.dumps(asdict(job)) + "\n"
            for process in self._started:
                assert process.stdin is not None
                process.stdin.write(line)
                process.stdin.flush()
            for process in self._started:
                assert process.stdout is not None
                ready, _, _ = select.select([process.stdout], [], [], self.timeout)
                answer = process.stdout.readline().strip() if ready else "no answer"
                if answer != "done":
                    self._dismiss(kill=True)
                    self._stderr.seek(0)
                    raise AssertionError(f"{job}: {answer}\n{self._stderr.read()[-3000:]}")


def assert_world_size_does_not_matter(
    make_plan: MakePlan,
    make_source: MakeSource,
    folder: Path,
    *,
    crew: Crew | None = None,
    kinds: Sequence[str] = KINDS,
    rtol: float = 1e-9,
) -> None:
    """Several processes give the loss curve of one, under each layout, to a relative `rtol`."""
    plan, source = reference(make_plan), reference(make_source)
    run(Job(plan, source, str(folder / "one")))
    with _crew(crew) as several:
        several.run(*(Job(plan, source, str(folder / kind), kind) for kind in kinds))
    for kind in kinds:
        _assert_close(folder / "one", folder / kind, rtol, f"several processes ({kind}) and one")


def assert_resume_equals_uninterrupted(
    make_plan: MakePlan,
    make_source: MakeSource,
    folder: Path,
    *,
    stops: Sequence[int],
    crew: Crew | None = None,
    kind: str = "ddp",
) -> None:
    """A fit stopped after each of the given steps and resumed ends with the same rows and the same weights, to the bit.

    Without a crew it is a fit of one process.
    """
    plan, source = reference(make_plan), reference(make_source)
    whole, parts = str(folder / "whole"), str(folder / "parts")
    jobs = [Job(plan, source, whole, kind)]
    jobs += [Job(plan, source, parts, kind, resume=number > 0, stop=stop) for number, stop in enumerate(stops)]
    jobs += [Job(plan, source, parts, kind, resume=True)]
    if crew is None:
        for job in jobs:
            run(job)
    else:
        crew.run(*jobs)
    differs = f"of a fit stopped at {list(stops)} differ from those of an uninterrupted one"
    assert rows(folder / "whole") == rows(folder / "parts"), f"the rows {differs}"
    first, second = ((folder / name / WEIGHTS).read_bytes() for name in ("whole", "parts"))
    assert first == second, f"the weights {differs}"


def assert_reshard(
    make_plan: MakePlan,
    make_source: MakeSource,
    folder: Path,
    *,
    stop: int,
    crew: Crew | None = None,
    kinds: Sequence[str] = KINDS,
    rtol: float = 1e-9,
) -> None:
    """A fit saved by several processes and resumed by one, or the other way round, equals a whole fit by one."""
    plan, source = reference(make_plan), reference(make_source)
    run(Job(plan, source, str(folder / "one")))
    fewer = {kind: folder / f"{kind}, fewer" for kind in kinds}
    more = {kind: folder / f"{kind}, more" for kind in kinds}
    for kind, path in more.items():
        run(Job(plan, source, str(path), kind, stop=stop))
    with _crew(crew) as several:
        several.run(*(Job(plan, source, str(path), kind, stop=stop) for kind, path in fewer.items()))
        for path in (*fewer.values(), *more.values()):
            assert len(rows(path)) < len(rows(folder / "one")), "the fit was not stopped before its end"
        several.run(*(Job(plan, source, str(path), kind, resume=True) for kind, path in more.items()))
    for kind, path in fewer.items():
        run(Job(plan, source, str(path), kind, resume=True))
    for path in (*fewer.values(), *more.values()):
        _assert_close(folder / "one", path, rtol, f"a resharded fit ({path.name}) and a whole one")


def assert_processes_do_not_matter(
    make_plan: MakePlan,
    make_source: MakeSource,
    folder: Path,
    *,
    stop: int,
    crew: Crew | None = None,
    rtol: float = 1e-9,
) -> None:
    """The two laws above in three fits instead of nine, for tests of many families.

    Several processes give the curve of one under DDP, where gradients are summed; and a fit that several begin under
    FSDP until `stop`, where weights and optimiser state are sharded, and that one process ends, equals a whole one.
    """
    plan, source = reference(make_plan), reference(make_source)
    one, several, begun = (str(folder / name) for name in ("one", "several", "begun by several"))
    run(Job(plan, source, one))
    with _crew(crew) as workers:
        workers.run(Job(plan, source, several), Job(plan, source, begun, "fsdp", stop=stop))
    assert len(rows(folder / "begun by several")) < len(rows(folder / "one")), "the fit was not stopped before its end"
    run(Job(plan, source, begun, "fsdp", resume=True))
    for path in (several, begun):
        _assert_close(Path(one), Path(path), rtol, f"a fit ({Path(path).name}) and that of one process")


def _crew(crew: Crew | None) -> AbstractContextManager[Crew]:
    return Crew() if crew is None else nullcontext(crew)


def _environments(processes: int, port: int) -> list[dict[str, str]]:
    """The variables by which a launcher tells each process its rank, as `torchrun` does on one machine.

    Args:
        processes: how many.
        port: of the launcher's store.
    """
    shared = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0", "OMP_NUM_THREADS": "1"}
    return [{**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]


def rows(folder: Path) -> list[dict[str, float | str]]:
    """Rows of the loss file of a fit, without the figures of its pace."""
    return read_rows(folder / FILE, pace=False)


def _assert_close(first: Path, second: Path, rtol: float, what: str) -> None:
    ours, theirs = rows(first), rows(second)
    assert [row["step"] for row in ours] == [row["step"] for row in theirs], f"{what}: other rows"
    for mine, other in zip(ours, theirs, strict=True):
        for name, value in mine.items():
            again = other[name]
            if isinstance(value, str) or isinstance(again, str):
                same = value == again
            else:
                same = abs(value - again) <= rtol * abs(value)
            assert same, f"{what}: {name} of {mine['stage']}, step {mine['step']} is {value} and {again}"
    one, two = load_file(first / WEIGHTS), load_file(second / WEIGHTS)
    for name, tensor in one.items():
        # weights near zero are compared against the size of their tensor; masks and orders must be the same
        atol = rtol * float(tensor.abs().max()) if tensor.is_floating_point() and tensor.numel() else 0.0
        assert torch.allclose(tensor, two[name], rtol=rtol, atol=atol), f"{what}: {name}"
