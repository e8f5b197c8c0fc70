"""A fit whose attempts are killed at chosen moments: `python engine_kills.py FOLDER ATTEMPTS`, where ATTEMPTS is JSON.

The folder gets two fits: `whole`, which is not killed, and `killed`. Each attempt at the latter is a fork of this
process, which has imported everything already, so that an attempt costs a fit and not an import. An attempt is a pair
(moment, n): the process kills itself (SIGKILL) when it reaches that moment for the n-th time.
"""

import itertools
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from maquette.core.engine import checkpoint, losses, storage
from maquette.core.engine.loop import fit
from maquette.core.engine.parallel import full_tensor
from maquette.core.engine.plan import CheckpointConfig, ParallelConfig, Plan
from maquette.core.engine.state import model_tensors
from maquette.core.engine.trainer import PlayerTrainer
from maquette.core.testing.toys import denoiser_plan, denoiser_source
from safetensors.torch import save_file


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def truncate(file: Path) -> None:
    """Leave half of a file, as a writer does that is killed halfway."""
    os.truncate(file, file.stat().st_size // 2)


def after_half_a_row(loss_file: losses.LossFile, row: Any) -> None:
    loss_file._stream.write(json.dumps(row).encode()[:20])
    loss_file._stream.flush()
    die()


def after_half_the_tensors(tensors: Any, file: Path, **_: Any) -> None:
    save_file(tensors, file)
    truncate(file)
    die()


def after_half_a_prune(folder: Path, **_: Any) -> None:
    next(iter(sorted(Path(folder).iterdir()))).unlink()
    die()


def after_renaming(old: Path, new: Path) -> None:
    os.replace(old, new)
    die()


MOMENTS: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "before a step": (PlayerTrainer, "step", die),
    "within a row": (losses.LossFile, "write", after_half_a_row),
    "within the tensors": (storage, "save_file", after_half_the_tensors),
    "before a flush": (storage, "sync", die),
    "before the renaming": (os, "rename", die),
    "after the renaming": (os, "rename", after_renaming),
    "within the removal of an old one": (shutil, "rmtree", after_half_a_prune),
    "before the directory's flush": (checkpoint, "sync", die),
}


def arm(moment: str, count: int) -> None:
    """Arrange that this process dies at the `count`-th call."""
    if moment == "any call":
        calls = iter(range(count))
        sys.setprofile(lambda *_: None if next(calls, None) is not None else die())
        return
    owner, name, fatal = MOMENTS[moment]
    original, number = getattr(owner, name), itertools.count(1)

    def counted(*args: Any, **kwargs: Any) -> Any:
        return fatal(*args, **kwargs) if next(number) == count else original(*args, **kwargs)

    setattr(owner, name, counted)


def plan() -> Plan:
    often = CheckpointConfig(every=3, keep=2)
    base = denoiser_plan(ParallelConfig(precision="float64"))
    return Plan(base.stages, base.training.model_copy(update={"checkpoint": often}))


def attempt(folder: Path) -> None:
    here = plan()
    fit(here, denoiser_source(), folder, seed=3, resume=True)
    save_file({name: full_tensor(tensor.detach()) for name, tensor in model_tensors(here).items()}, folder / "weights")


def main(folder: Path, attempts: list[tuple[str, int]]) -> None:
    torch.set_num_threads(1)
    attempt(folder / "whole")
    for moment, count in attempts:
        child = os.fork()
        if child == 0:
            arm(moment, count)
            attempt(folder / "killed")
            os._exit(0)  # the moment never came
        _, status = os.waitpid(child, 0)
        print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status), flush=True)
    attempt(folder / "killed")


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
