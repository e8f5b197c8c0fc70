"""A fit and a generation whose attempts are killed at chosen moments: `python killed.py DATA RUN`.

In the working folder, `whole` and `whole.h5` are what the verbs make undisturbed, `killed` and `killed.h5` what they
make in the end. Each attempt is a fork of this process, which has imported everything already; it kills itself
(SIGKILL) at the n-th time that it comes to a moment. The signals that ended the attempts are printed.
"""

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from maquette.data_specs.hdf5.blocks import BlockWriter
from maquette.pipelines.fit import fit
from maquette.pipelines.generate import generate
from maquette.pipelines.reporting import latency
from mlflow import MlflowClient
from sqlalchemy.orm import Session

HERE = Path(__file__).parent
sys.path += [str(HERE), str(HERE.parent / "core" / "engine")]

import graphs  # noqa: E402, F401 - the toys register themselves
import mixture  # noqa: E402, F401
import translation  # noqa: E402, F401
from engine_kills import MOMENTS, arm, die  # noqa: E402


def after(owner: Any, name: str) -> tuple[Any, str, Callable[..., Any]]:
    """The moment when a call has done its work."""
    original = getattr(owner, name)

    def fatal(*args: Any, **kwargs: Any) -> None:
        original(*args, **kwargs)
        die()

    return owner, name, fatal


MOMENTS |= {
    "before figures are sent": (MlflowClient, "log_batch", die),
    "before figures are committed": (Session, "commit", die),
    "after figures are sent": after(MlflowClient, "log_batch"),
    "before a block is there": (os, "replace", die),
    "within the assembly": (BlockWriter, "_copy", die),
}

FITS = [
    ("before a step", 2),
    ("before figures are sent", 2),
    ("before figures are committed", 12),
    ("within a row", 3),
    ("after figures are sent", 3),
    ("within the tensors", 1),
    ("before a step", 9),
    ("before figures are committed", 15),
    ("after figures are sent", 4),
    ("after the renaming", 2),
    ("any call", 60_000),
    ("before a flush", 3),
    ("before figures are sent", 3),
    ("within the removal of an old one", 1),
    ("before the directory's flush", 2),
    ("after figures are sent", 3),
    ("before figures are committed", 18),
    ("before the renaming", 1),
    ("any call", 90_000),
    ("before figures are sent", 1),
]

DRAWS = [("before a block is there", 2), ("within the assembly", 3), ("before a block is there", 1)]


def fitting(domain: str, data: str | dict[str, str], *words: str) -> Callable[[str], object]:
    often = ["training.checkpoint.every=3", "training.log_every=1", *words]
    return lambda out: fit(domain, data=data, out=out, resume=True, overrides=often)


def drawing(run: str) -> Callable[[str], object]:
    """Three blocks of showers, whose ends lie within batches."""
    return lambda out: generate(run, n=5000, seed=3, out=f"{out}.h5", batch_size=900)


ODD = [("before a step", 7), ("within the tensors", 1), ("before a step", 3)]
GRAPHS = [("before a step", 5), ("within the tensors", 1), ("before the renaming", 1)]


def main(attempt: Callable[[str], object], moments: Sequence[tuple[str, int]], prefix: str = "") -> None:
    attempt(f"{prefix}whole")
    for moment, count in moments:
        child = os.fork()
        if child == 0:
            arm(moment, count)
            attempt(f"{prefix}killed")
            os._exit(0)  # the moment never came
        _, status = os.waitpid(child, 0)
        print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status), flush=True)
    attempt(f"{prefix}killed")


if __name__ == "__main__":
    torch.set_num_threads(1)
    data, model, graph_data, odd_data = sys.argv[1:]
    odd = json.loads(odd_data)
    latency._SECONDS = 0.01
    main(fitting("toy", data, "data.validation=100"), FITS)
    main(drawing(model), DRAWS)
    main(fitting("graphs", graph_data, "data.validation=100", "tracking=none", "training.steps=15"), GRAPHS, "graphs-")
    for domain in ("translation", "mixture"):
        main(fitting(domain, odd[domain]), ODD, f"{domain}-")
