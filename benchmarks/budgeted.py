"""Fits of a given number of minutes that keep the weights with the best likelihood of held-out samples.

The number of steps is measured first, so that the schedule of the learning rate ends with the time. A folder holds what
a later call needs to continue: the engine's checkpoints, the number of steps, the best weights so far.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from maquette.core.data import Source
from maquette.core.engine.evaluate import NoiseFactory
from maquette.core.engine.loop import fit
from maquette.core.engine.plan import CheckpointConfig, OptimizerConfig, ParallelConfig, TrainingConfig
from maquette.core.errors import Interrupted
from maquette.core.families import FamilyConfig
from maquette.core.inference.likelihood import LogLikelihood, log_likelihood
from maquette.core.spaces import Space
from safetensors.torch import load_file, save_file
from torch import nn

TRIAL = 12  # steps that are timed, after as many that warm up
EVALUATIONS = 25  # at most, on held-out samples in the course of a fit
EVALUATION_FRACTION = 0.1  # of the minutes, at most, for evaluations


@dataclass(frozen=True)
class Recipe:
    """A family and how it is fitted.

    Attributes:
        family: its config.
        batch: samples per step.
        optimizer: its schedule covers the steps that fit into the minutes.
        ema_decay: of the averaged weights, which are those that are evaluated.
        micro_batch: largest number of samples per backward pass, to save memory.
        draws: per test sample, for a model with a bound.
        literature: what others report on the same data.
    """

    family: FamilyConfig
    batch: int
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    ema_decay: float = 0.995
    micro_batch: int | None = None
    draws: int = 1000
    literature: str = ""


@dataclass(frozen=True)
class Budget:
    """What a fit may use.

    Attributes:
        minutes: of training, evaluations on held-out samples among them.
        device: "cpu" or "cuda".
        compile: whether networks are compiled.
    """

    minutes: float
    device: str = "cpu"
    compile: bool = False

    @property
    def scored(self) -> int:
        """Samples that are scored at a time; on a GPU many, so that kernel launches do not dominate."""
        return 250 if self.device == "cpu" else 2500

    def training(self, recipe: Recipe, steps: int, log_every: int) -> TrainingConfig:
        return TrainingConfig(
            steps=steps,
            batch_size=recipe.batch,
            micro_batch=recipe.micro_batch,
            optimizer=recipe.optimizer,
            ema_decay=recipe.ema_decay,
            parallel=ParallelConfig(precision="float32" if self.device == "cpu" else "bfloat16", compile=self.compile),
            checkpoint=CheckpointConfig(every=max(1, steps // 10), keep=1),
            log_every=log_every,
            max_minutes=self.minutes,
        )


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Options that the scripts share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = Path(os.environ.get("MAQUETTE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    parser.add_argument("--minutes", type=float, default=5.0, help="of training, for each family")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true", help="compile the networks")
    parser.add_argument("--data", type=Path, default=folder / "core", help="folder of the data")
    parser.add_argument("--out", type=Path, default=Path("runs/likelihood"), help="folder of results; a table is there")
    parser.add_argument("--resume", action="store_true", help="go on with what the folder holds")
    parser.add_argument("--table", action="store_true", help="train nothing; write the table of what the folder holds")
    return parser


class Best:
    """An evaluator that keeps, in a folder, the weights with the best likelihood of held-out samples."""

    def __init__(self, score: Callable[[], LogLikelihood], model: nn.Module, every: int, folder: Path) -> None:
        self.score, self.model, self.every = score, model, every
        self.weights, self.note = folder / "best.safetensors", folder / "best.json"
        self.nll = json.loads(self.note.read_text())["nll"] if self.note.exists() else float("inf")

    def __call__(self, noise: NoiseFactory) -> Mapping[str, float]:
        nll = -self.score().value
        if nll < self.nll:
            self.nll = nll
            save_file({name: tensor.contiguous() for name, tensor in self.model.state_dict().items()}, self.weights)
            self.note.write_text(json.dumps({"nll": nll}))
        return {"nll": nll}

    def restore(self) -> None:
        """Give the model its best weights."""
        self.model.load_state_dict(load_file(self.weights))


class Progress:
    """Prints evaluations, and records when rows were written."""

    def __init__(self, name: str = "") -> None:
        self.name, self.times = name, []

    def stage(self, name: str, steps: int) -> None:
        pass

    def row(self, row: Mapping[str, Any]) -> None:
        self.times.append(time.perf_counter())
        if "nll" in row and self.name:
            print(f"{self.name:14s} step {row['step']:7d}  held out {row['nll']:.3f} nats", flush=True)

    def checkpoint(self, step: int) -> None:
        pass


@dataclass(frozen=True)
class Pace:
    """How many steps fit into the minutes, and after how many held-out samples are evaluated."""

    steps: int
    every: int


def measured(recipe: Recipe, budget: Budget, space: Space, source: Source, held_out: Source) -> Pace:
    """Time a few steps, and the scoring of held-out samples."""
    torch.manual_seed(0)
    progress, model = Progress(), recipe.family.build(space)
    plan = budget.training(recipe, 2 * TRIAL, 1).plan(model.stages())
    with tempfile.TemporaryDirectory() as folder:
        fit(plan, source, folder, seed=0, device=budget.device, listeners=[progress])
    step = statistics.median(after - before for before, after in pairwise(progress.times[TRIAL:]))
    start = time.perf_counter()
    log_likelihood(model.eval(), held_out, space, batch=budget.scored)
    evaluation = time.perf_counter() - start
    steps = max(TRIAL, int((1 - EVALUATION_FRACTION) * 60 * budget.minutes / step))
    return Pace(
        steps, max(1, steps // EVALUATIONS, int((1 - EVALUATION_FRACTION) / EVALUATION_FRACTION * evaluation / step))
    )


def run(
    name: str,
    recipe: Recipe,
    budget: Budget,
    space: Space,
    source: Source,
    held_out: Source,
    test: Source,
    folder: Path,
    *,
    resume: bool,
) -> None:
    """Fit a family, score the test samples, and write the result to `folder/result.json`."""
    torch.set_float32_matmul_precision("high")
    file = folder / "pace.json"
    if not (resume and file.exists()):
        folder.mkdir(parents=True, exist_ok=resume)
        file.write_text(json.dumps(vars(measured(recipe, budget, space, source, held_out))))
    pace = Pace(**json.loads(file.read_text()))
    torch.manual_seed(0)
    model = recipe.family.build(space)
    score = partial(log_likelihood, model, space=space, batch=budget.scored)
    best = Best(lambda: score(held_out), model, pace.every, folder)
    plan = budget.training(recipe, pace.steps, max(1, pace.steps // 100)).plan(model.stages())
    listeners = [Progress(name)]
    try:
        outcome = fit(
            plan, source, folder, seed=0, device=budget.device, resume=resume, evaluator=best, listeners=listeners
        )
    except Interrupted as interruption:
        print(interruption, flush=True)
        raise SystemExit(Interrupted.EXIT_CODE) from None
    best.restore()
    model.eval()
    found = score(test, draws=recipe.draws)
    print(f"{name}: {found}", flush=True)
    result = {
        "family": name,
        "nll": -found.value,
        "error": found.error,
        "n": found.n,
        "what": found.what,
        "held_out": best.nll,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "steps": sum(outcome.steps.values()),
        "minutes": outcome.minutes,
        "device": torch.cuda.get_device_name() if budget.device == "cuda" else f"{torch.get_num_threads()} CPU threads",
        "literature": recipe.literature,
        "config": recipe.family.model_dump(mode="json"),
        "torch": torch.__version__,
    }
    (folder / "result.json").write_text(json.dumps(result, indent=1))


def table(out: Path, title: str, unit: str, scale: float, notes: str) -> str:
    """The results in a folder as markdown, also written to `table.md`; figures are divided by `scale`."""
    results = [json.loads(path.read_text()) for path in sorted(out.glob("*/result.json"))]
    lines = [
        f"# {title}",
        "",
        f"| family | test {unit} | what it is the negative of | parameters | steps | minutes | device | literature |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in sorted(results, key=lambda each: each["nll"]):
        lines.append(
            f"| {result['family']} | {result['nll'] / scale:.3f} ± {result['error'] / scale:.3f} | {result['what']} "
            f"| {result['parameters']:,} | {result['steps']:,} | {result['minutes']:.1f} | {result['device']} "
            f"| {result['literature']} |"
        )
    text = "\n".join([*lines, "", notes, ""])
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.md").write_text(text)
    return text
