"""Recipes of the calorimeter: fitted, sampled and judged against held-out showers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from maquette.domains import domains
from maquette.pipelines.arguments import DataSide
from maquette.pipelines.fit import fit
from maquette.pipelines.generate import generate
from maquette.pipelines.run.config import resolve
from maquette.pipelines.validate import validate

from .entry import Figure, Setting

EPLUS, DS2 = "calorimeter/geant4_calogan_eplus_train.h5", "calorimeter/geant4_ds2_eminus_train.h5"
FEW = 40
"""Showers that two steps see and are judged by: as few as can be judged, and none beyond the energies seen."""


def showers(recipe: str, file: str, training: int, rows: int) -> Callable[[Setting], Iterator[Figure]]:
    """An entry's measurement of a recipe: fitted to the first rows of a file, judged by those that are left."""
    return partial(measure, recipe=recipe, file=file, training=training, rows=rows)


def measure(setting: Setting, *, recipe: str, file: str, training: int, rows: int) -> Iterator[Figure]:
    """Fit a recipe to rows 0 .. training - 1, draw as many showers as are left, and judge them."""
    data, run, samples = setting.data / file, setting.folder / "run", setting.folder / "samples.h5"
    fitted, held_out = (f"0:{FEW}", f"0:{FEW}") if setting.dry else (f"0:{training}", f"{training}:{rows}")
    overrides = ["tracking=none", f"data.rows={fitted}", f"training.max_minutes={setting.fitting}"]
    overrides += smallest(recipe) if setting.dry else ()
    reference = DataSide(data, held_out)
    fit("calorimeter", data=data, out=run, recipe=recipe, overrides=overrides, resume=True, device=setting.device)
    made = generate(run, out=samples, seed=11, conditions_from=reference, device=setting.device)
    if made.throughput.samples:  # none if an earlier call has drawn them all
        yield Figure("sampling", 1e3 * made.throughput.sampling / made.throughput.samples, "ms/shower", made.n)
    found = validate(
        "calorimeter",
        reference=reference,
        generated=samples,
        out=setting.folder / "validation",
        effort="smoke" if setting.dry else "full",
        track=False,
    )
    for name, metric in found.evaluation.estimates.items():
        if math.isfinite(metric.value):
            stderr, floor = (value if math.isfinite(value) else None for value in (metric.stderr, metric.floor))
            yield Figure(name, metric.value, metric.unit, metric.n, stderr, floor)


def smallest(recipe: str) -> Iterator[str]:
    """Overrides by which a recipe takes two steps, in training and in sampling, with networks of depth one."""
    config = resolve(domains.get("calorimeter"), recipe)
    yield from ("training.parallel.compile=false", "training.parallel.precision=float32")
    yield from _smallest(config.model_dump()["generator"]["family"], "generator.family")
    for stage in config.training.stages:
        yield from (f"training.stages.{stage}.steps=2", f"training.stages.{stage}.batch_size=8")


def _smallest(config: Mapping[str, Any], path: str) -> Iterator[str]:
    for name, value in config.items():
        if name == "depth":
            yield f"{path}.depth=1"
        elif isinstance(value, dict):
            if name == "sampler" and "steps" in value:  # a student's has none
                yield f"{path}.sampler.steps=2"
            yield from _smallest(value, f"{path}.{name}")
