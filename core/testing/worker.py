"""A process in which the laws of training run fits: `python -m maquette.core.testing.worker`.

It joins the other processes, then reads jobs from its standard input, one JSON object per line, and answers each with a
line: "done", or the error. `training.Crew` is the other end.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from inspect import getfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ..data import Source
from ..dtypes import as_pairs
from ..engine.evaluate import HeldOutLoss
from ..engine.loop import fit
from ..engine.parallel import full_tensor
from ..engine.plan import ParallelConfig, Plan
from ..engine.state import model_tensors
from ..engine.world import process_group
from ..errors import Interrupted

WEIGHTS = "weights.safetensors"
_LAST = 2**62  # steps between evaluations, of which only that at the end of a stage is left
MakePlan = Callable[[ParallelConfig], Plan]
MakeSource = Callable[[], Source]
Reference = tuple[str, str, Sequence[Any]]
"""File and name of a function at the top level of a file, and its first arguments, which are plain JSON."""


@dataclass(frozen=True)
class Job:
    """A fit, described so that another process can run it.

    Attributes:
        plan: `reference` of a function from layout to plan, with the same weights at every call.
        source: `reference` of a function that returns the samples.
        folder: of the fit; `weights.safetensors` is written there when it ends.
        kind: layout over processes.
        resume: go on from the newest checkpoint.
        stop: step, counted over all stages, after whose row the process sends itself SIGTERM.

    >>> from tempfile import TemporaryDirectory
    >>> from maquette.core.testing.toys import denoiser_source, wasserstein_plan
    >>> with TemporaryDirectory() as folder:
    ...     run(Job(reference(wasserstein_plan), reference(denoiser_source), folder, stop=2))
    ...     sorted(file.name for file in Path(folder).iterdir())
    ['checkpoints', 'losses.jsonl', 'weights.safetensors']
    """

    plan: Reference
    source: Reference
    folder: str
    kind: str = "ddp"
    resume: bool = False
    stop: int | None = None


def reference(function: Callable[..., Any]) -> Reference:
    """Where another process finds a function, or a `functools.partial` of one whose arguments are plain JSON.

    Raises:
        ValueError: it is not at the top level of its file.
    """
    arguments: Sequence[Any] = ()
    if isinstance(function, partial):
        function, arguments = function.func, function.args
    if "." in function.__qualname__ or "<" in function.__qualname__:
        raise ValueError(f"{function.__qualname__}: expected a function at the top level of a file.")
    return getfile(function), function.__qualname__, arguments


def _resolve(where: Reference) -> Callable[..., Any]:
    file, name, arguments = where
    if Path(file).parent == Path(__file__).parent:  # a part of this package, with relative imports
        module = importlib.import_module(f"{__package__}.{Path(file).stem}")
    else:
        specification = importlib.util.spec_from_file_location(f"maquette_case_{abs(hash(file))}", file)
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
    return partial(getattr(module, name), *arguments)


class _Stop:
    """Sends SIGTERM to this process after the row of a step."""

    def __init__(self, step: int) -> None:
        self.step, self.rows = step, 0

    def stage(self, name: str, steps: int) -> None:
        self.before = getattr(self, "after", 0)
        self.after = self.before + steps

    def row(self, row: Mapping[str, Any]) -> None:
        if self.before + row["step"] == self.step:
            os.kill(os.getpid(), signal.SIGTERM)

    def checkpoint(self, step: int) -> None:
        pass


def run(job: Job) -> None:
    """Run a job in this process, together with the processes that it has joined."""
    parallel = ParallelConfig.model_validate({"kind": job.kind, "precision": "float64"})
    plan: Plan = _resolve(job.plan)(parallel)
    source = _resolve(job.source)()
    listeners = () if job.stop is None else (_Stop(job.stop),)
    with process_group() as world:
        evaluator = HeldOutLoss(plan, source, torch.device("cpu"), _LAST, batch_size=7, world=world)
        try:
            fit(plan, source, job.folder, seed=3, resume=job.resume, evaluator=evaluator, listeners=listeners)
        except Interrupted:
            if job.stop is None:
                raise
        weights = {
            name: as_pairs(full_tensor(tensor.detach())).contiguous() for name, tensor in model_tensors(plan).items()
        }
        if world.first:
            save_file(weights, Path(job.folder) / WEIGHTS)


def main() -> None:
    """Join the other processes and run jobs until the input ends."""
    torch.set_num_threads(1)
    with process_group(timeout=timedelta(seconds=60)):
        for line in sys.stdin:
            try:
                run(Job(**json.loads(line)))
            except Exception as error:
                print(repr(error), flush=True)
                raise
            print("done", flush=True)


if __name__ == "__main__":
    main()
