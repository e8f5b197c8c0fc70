"""`maquette fit`: fits a generator to a data file by a recipe, into the folder of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..core.artifact import restore
from ..core.dtypes import move_module
from ..core.engine.checkpoint import Checkpoints
from ..core.engine.draws import expect_readers
from ..core.engine.evaluate import HeldOutLoss
from ..core.engine.listeners import Listener
from ..core.engine.loop import fit as train
from ..core.engine.parallel import full_state_dict
from ..core.engine.plan import Plan
from ..core.engine.signals import interruptible
from ..core.engine.world import World, process_group
from ..core.errors import ConfigError, TrainingError
from ..domains import domains
from ..domains.generator import Generator
from ..domains.plugin import Dataset, Domain
from .arguments import resolve_device
from .console.numbers import samples_per_second
from .console.screen import Screen, Silent
from .load import load
from .mlflow.tracker import Tracker, complete
from .report import report
from .reporting.latency import measure_latency
from .run.config import DEFAULT_RECIPE, RunConfig, first_difference, read_config, resolve, with_overrides
from .run.folder import Run, new_run
from .run.lease import lease
from .run.record import RunRecorder, check_tags, expect_same_data, read_record
from .run.sources import DataFiles, open_data, split_all


@dataclass(frozen=True)
class Fitted:
    """A finished run.

    Attributes:
        run: its folder.
        already: whether it was finished before, so that nothing was done.
    """

    run: Run
    already: bool = False


def fit(
    domain: str,
    *,
    data: DataFiles,
    out: str | Path,
    recipe: str | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
    device: str = "auto",
    tags: Mapping[str, str] | None = None,
    listeners: Sequence[Listener] = (),
    screen: Screen | None = None,
) -> Fitted:
    """Fit a generator; under torchrun, call it on every rank.

    Args:
        domain: name of the domain.
        data: a data file that meets the domain's data spec; or several by name, `{"photos": "a.h5", "paintings":
            "b.h5"}`, for a family whose players read sources of these names. The first one leads: its description is
            the model's, validation and the search for copies refer to it.
        out: the run's folder.
        recipe: a named config of the domain, or a YAML file; `quick` if not given.
        overrides: KEY=VALUE words, such as `training.steps=500`.
        resume: continue an unfinished run of the same config and data; start it if there is none.
        device: "auto", "cpu", "cuda" or "cuda:NUMBER".
        tags: what the run is called by beside its name, such as `{"study": "widths", "trial": "7"}`; they stand in
            `run.json` and in MLflow.
        listeners: follow the fit on the first process, after its record is written; one may end it.
        screen: where progress and results are shown; nowhere if not given.

    Raises:
        ConfigError, DataError: bad input, or another fit works in the folder; nothing is written.
        TrainingError: the fit failed; `Interrupted` if a signal or a listener stopped it and its state was saved.
    """
    screen, tags = screen or Silent(), check_tags(tags or {})
    with ExitStack() as stack:
        stack.enter_context(interruptible())
        torch_device, plugin, run = resolve_device(device), domains.get(domain), new_run(out)
        world = stack.enter_context(process_group(torch_device))
        held: list[Listener] = []
        world.once(lambda: held.append(stack.enter_context(lease(run.folder))))
        config = _config(plugin, run, recipe, overrides, resume)
        world.barrier()  # all have read the folder before the first process writes there
        files = open_data(plugin, data, config.data, world)
        expect_same_data(run, {one.name: one.sha256 for one in files})
        before = read_record(run)
        if resume and before and before.status == "finished":
            if world.first:
                complete(run, config, screen)
            return Fitted(run, already=True)
        if before:
            screen.say(_position(run))
        for one in files:
            screen.table(one.title, ("what", "value"), one.chosen().summary())
        training, held_out = split_all(files)
        torch.manual_seed(config.seed)  # initial weights are torch's own draws, alike on every rank
        description = files[0].whole.description
        generator = _build(plugin, config, description, training)
        move_module(generator, torch_device, config.training.parallel.dtype)
        plan = config.training.plan(generator.stages())
        _expect_readers(plan, training)
        evaluator = None
        if held_out:
            every = config.training.checkpoint.every
            evaluator = HeldOutLoss(plan, held_out, torch_device, every, world=world)
        records = [one.record(training[one.name]) for one in files]
        recorder = RunRecorder(
            run,
            config,
            records[0],
            other_data=records[1:],
            parameters=sum(p.numel() for p in generator.parameters()),
            world_size=world.size,
            device=torch_device,
            tags=tags,
        )
        following: list[Listener] = [*held, recorder, FitProgress(screen)]
        if world.first:
            recorder.begin()
            stack.push(recorder.left)
            if config.tracking == "mlflow":
                following.append(stack.enter_context(Tracker(run, config, recorder.record, screen)))
        train(
            plan,
            training,
            run.folder,
            seed=config.seed,
            device=torch_device,
            resume=resume,
            evaluator=evaluator,
            listeners=[*following, *listeners],
        )
        tensors = full_state_dict(generator)
        if world.first:
            whole = config.generator.build(description)
            restore(whole, tensors, what="the fitted model")
            whole.examples = generator.examples
            whole.save(run.model, domain=plugin.name, config_hash=config.digest())
            recorder.end(measure_latency(load(run.folder, str(torch_device))))
            report(run.folder)
        world.barrier()  # the run is complete when this returns, on every rank
    return Fitted(run)


def _config(plugin: Domain, run: Run, recipe: str | None, overrides: Sequence[str], resume: bool) -> RunConfig:
    """The config to fit with: the one asked for, which on resuming must be the one the run began with."""
    if not run.config.is_file():
        return resolve(plugin, recipe or DEFAULT_RECIPE, overrides)
    if not resume:
        raise ConfigError(
            f"{run.folder}: there is a run here already. Add --resume to go on with it, or give another --out."
        )
    stored = read_config(run.config, plugin)
    asked = resolve(plugin, recipe, overrides) if recipe else with_overrides(plugin, stored, overrides)
    if differs := first_difference(stored, asked):
        raise ConfigError(
            f"{run.folder}: a run goes on with the config it began with; these differ (begun with, asked for): "
            f"{differs}. Leave recipe and overrides out, or give another --out."
        )
    return stored.model_copy(update={"tracking": asked.tracking})


def _position(run: Run) -> str:
    """How far an unfinished run is."""
    saved = Checkpoints(run.folder, 1, World()).names()
    if not saved:
        return f"{run.folder}: no checkpoint was saved; the fit begins again"
    step = int(saved[-1].removeprefix("step-").partition(".")[0])
    return f"{run.folder}: goes on after step {step:,} of all stages ({saved[-1]})"


def _expect_readers(plan: Plan, sources: Mapping[str, Dataset]) -> None:
    """Refuse data that the players of a plan do not read, and players without data, before anything is written."""
    try:
        expect_readers(plan.stages, sources)
    except TrainingError as error:
        raise ConfigError(f"data: {error} Several files are given by their names, as --data NAME=FILE.") from None


def _build(
    plugin: Domain, config: RunConfig, description: Mapping[str, Any], training: Mapping[str, Dataset]
) -> Generator:
    """The generator, its codec fitted; raises `ConfigError` with the recipes that suit such data if this does not."""
    try:
        return config.generator.build(description, training)
    except ConfigError as error:
        suitable = _suitable(plugin, description) if config.recipe in plugin.recipes() else [config.recipe]
        if config.recipe in suitable:
            raise
        raise ConfigError(
            f"The recipe {config.recipe} is not made for such data ({str(error).rstrip('.')}); "
            f"these are: {', '.join(suitable) or 'none'}."
        ) from None


def _suitable(plugin: Domain, description: Mapping[str, Any]) -> list[str]:
    """Recipes of which a generator of such data can be built."""

    def suits(recipe: str) -> bool:
        try:
            resolve(plugin, recipe).generator.build(description)
        except ConfigError:
            return False
        return True

    return [recipe for recipe in sorted(plugin.recipes()) if suits(recipe)]


class FitProgress:
    """Shows how far the fit is: a listener of the engine.

    >>> class Printing(Silent):
    ...     def progress(self, what, done, total, note="", seconds_left=None):
    ...         print(what, f"{done}/{total}:", note)
    >>> progress = FitProgress(Printing())
    >>> progress.stage("flow", steps=500)
    >>> progress.row({"stage": "flow", "step": 50, "loss": 1.25})
    fit flow 50/500: loss 1.25
    """

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.steps: dict[str, int] = {}

    def stage(self, name: str, steps: int) -> None:
        self.steps[name] = steps

    def row(self, row: Mapping[str, Any]) -> None:
        if "loss" not in row:  # of an evaluation
            return
        figures = [f"loss {row['loss']:.4g}"]
        if (rate := row.get("samples_per_second")) is not None:
            figures.append(samples_per_second(rate))
        if (memory := row.get("memory_gb")) is not None:
            figures.append(f"{memory:.1f} GB")
        stage = str(row["stage"])
        self.screen.progress(
            f"fit {stage}", int(row["step"]), self.steps.get(stage, 0), ", ".join(figures), row.get("seconds_left")
        )

    def checkpoint(self, step: int) -> None:
        pass
