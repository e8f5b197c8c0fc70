"""`maquette fit`: from a data file and a recipe to a run: a model, its losses, and where both come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..core.artifact import restore
from ..core.engine.listeners import Listener
from ..core.engine.loop import fit as train
from ..core.engine.parallel import World, full_state_dict, process_group
from ..core.engine.signals import interruptible
from ..core.errors import ConfigError
from ..domains import domains
from ..domains.generator import Generator
from ..domains.plugin import Dataset, Domain
from .config import DEFAULT_RECIPE, RunConfig, difference, read_config, reconsider, resolve
from .devices import resolve_device
from .heldout import HeldOutLoss
from .ledger import Ledger, earlier, expect_same_data
from .load import load
from .paths import Run, new_run
from .report import report
from .rows import select
from .screen import Screen, Silent
from .speed import measure
from .tracking import Tracker


@dataclass(frozen=True)
class Fitted:
    """A finished run.

    Attributes:
        run: its folder.
        already: it had been finished before, and nothing was done.
    """

    run: Run
    already: bool = False


def fit(
    domain: str,
    *,
    data: str | Path,
    out: str | Path,
    recipe: str | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
    device: str = "auto",
    screen: Screen | None = None,
) -> Fitted:
    """Fit a generator; under torchrun, call it on every rank.

    Args:
        domain: name of the domain.
        data: a data file that meets the domain's data spec.
        out: the run's folder.
        recipe: a named config of the domain, or a YAML file; `quick` if not given.
        overrides: KEY=VALUE words, such as `training.steps=500`.
        resume: go on with an unfinished run of the same config and data; start it if it is not there.
        device: "auto", "cpu", "cuda" or "cuda:NUMBER".

    Raises:
        ConfigError, DataError: bad input; nothing is written.
        TrainingError: the fit failed; `Interrupted` if a signal stopped it and its state was saved.
    """
    screen = screen or Silent()
    with ExitStack() as stack:
        stack.enter_context(interruptible())
        where, plugin, run = resolve_device(device), domains.get(domain), new_run(out)
        world = stack.enter_context(process_group(where))
        config = _config(plugin, run, recipe, overrides, resume)
        world.barrier()  # all have looked at the folder before the first process writes there
        source = plugin.open(Path(data), config.data.options)
        expect_same_data(run, source.digest)
        if resume and earlier(run).get("status") == "finished":
            return Fitted(run, already=True)
        chosen = select(source, config.data.rows, what=str(data))
        screen.table(f"data: {data}", ("what", "value"), chosen.summary())
        training, kept = _split(chosen, config.data.validation)
        torch.manual_seed(config.seed)  # initial weights are torch's own draws, alike on every rank
        generator = _build(plugin, config, source.description, training)
        generator.to(where, config.training.parallel.dtype)
        plan = config.training.plan(generator.stages())
        evaluator = HeldOutLoss(plan, kept, where, config.training.checkpoint.every) if kept else None
        ledger = Ledger(run, config, _facts(data, source, training, generator, world), where)
        listeners: list[Listener] = [ledger, _Shown(screen)]
        if world.first:
            ledger.begin()
            if config.tracking == "mlflow":
                listeners.append(stack.enter_context(Tracker(run, config, ledger.record, screen)))
        train(
            plan,
            training,
            run.folder,
            seed=config.seed,
            device=where,
            resume=resume,
            evaluator=evaluator,
            listeners=listeners,
        )
        tensors = full_state_dict(generator)
        if world.first:
            whole = config.generator.build(source.description)
            restore(whole, tensors, what="the fitted model")
            whole.save(run.model, domain=plugin.name, config_hash=config.digest())
            ledger.end(speed=measure(load(run.folder, str(where))))
            report(run.folder)
        world.barrier()  # all may use the run when this returns
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
    asked = resolve(plugin, recipe, overrides) if recipe else reconsider(plugin, stored, overrides)
    if differs := difference(stored, asked):
        raise ConfigError(
            f"{run.folder}: a run goes on with the config it began with; these differ (begun with, asked for): "
            f"{differs}. Leave recipe and overrides out, or give another --out."
        )
    return stored.model_copy(update={"tracking": asked.tracking})


def _build(plugin: Domain, config: RunConfig, description: Mapping[str, Any], training: Dataset) -> Generator:
    """The generator, its codec fitted; a recipe that is not made for such data is answered with those that are."""
    try:
        return config.generator.build(description, training)
    except ConfigError as error:
        fitting = _fitting(plugin, description) if config.recipe in plugin.recipes() else [config.recipe]
        if config.recipe in fitting:
            raise
        raise ConfigError(
            f"The recipe {config.recipe} is not made for such data ({str(error).rstrip('.')}); "
            f"these are: {', '.join(fitting) or 'none'}."
        ) from None


def _fitting(plugin: Domain, description: Mapping[str, Any]) -> list[str]:
    """Recipes of which a generator of such data can be built."""

    def fits(recipe: str) -> bool:
        try:
            resolve(plugin, recipe).generator.build(description)
        except ConfigError:
            return False
        return True

    return [recipe for recipe in sorted(plugin.recipes()) if fits(recipe)]


def _split(data: Dataset, held_out: int) -> tuple[Dataset, Dataset | None]:
    """Rows to train on, and the last `held_out` ones."""
    if held_out >= len(data):
        raise ConfigError(f"data.validation: {held_out} rows cannot be held out of {len(data)}.")
    first = len(data) - held_out
    return (data.rows(0, first), data.rows(first, len(data))) if held_out else (data, None)


def _facts(
    data: str | Path, source: Dataset, training: Dataset, generator: torch.nn.Module, world: World
) -> dict[str, Any]:
    return {
        "data": {
            "file": str(data),
            "sha256": source.digest,
            "sha256_of": "content of all rows",
            "rows": len(source),
            "training_rows": len(training),
        },
        "parameters": sum(p.numel() for p in generator.parameters()),
        "world_size": world.size,
    }


class _Shown:
    """Shows how far the fit is: a listener of the engine."""

    def __init__(self, screen: Screen) -> None:
        self.screen, self.steps = screen, {}

    def stage(self, name: str, steps: int) -> None:
        self.steps[name] = steps

    def row(self, row: Mapping[str, Any]) -> None:
        if "loss" in row:  # rows of an evaluation have figures of their own
            stage = str(row["stage"])
            self.screen.progress(f"fit {stage}", int(row["step"]), self.steps.get(stage, 0), f"loss {row['loss']:.4g}")

    def checkpoint(self, step: int) -> None:
        pass
