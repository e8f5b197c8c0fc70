"""`maquette validate`: any file that meets the spec against reference data, whoever made it."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ..core.artifact import weights_digest
from ..core.engine.parallel import process_group
from ..core.errors import ConfigError
from ..core.statistics.estimate import Estimate
from ..domains import domains
from ..domains.plugin import Dataset, Evaluation
from .atomic import writable, write_json
from .devices import resolve_device
from .paths import MODEL, Run, existing_run
from .provenance import gather
from .report import EVALUATION, write_report
from .rows import select
from .screen import Screen, Silent
from .seeds import check_seed
from .tracking import log_evaluation
from .training import Training, named_training, owner_of, recorded_training
from .wording import sigmas, with_error

METRICS = "metrics.json"
SCHEMA = 1
SIGMAS = 3.0


@dataclass(frozen=True)
class Validated:
    """What came out, and where it lies.

    Attributes:
        folder: what was written.
        evaluation: figures and verdict.
        run: whose model generated, if that is known.
        store: the MLflow store that has it, if one was told.
    """

    folder: Path
    evaluation: Evaluation
    run: Run | None
    store: str | None = None


def validate(
    domain: str,
    *,
    reference: str | Path,
    generated: str | Path,
    out: str | Path,
    reference_rows: str | None = None,
    generated_rows: str | None = None,
    training: str | Path | None = None,
    training_rows: str | None = None,
    effort: str = "full",
    seed: int = 0,
    options: dict[str, Any] | None = None,
    run: str | Path | None = None,
    track: bool = True,
    screen: Screen | None = None,
) -> Validated:
    """Compare generated with reference data by the domain's physics metrics; under torchrun, call it on every rank.

    Writes `metrics.json`, `evaluation.json` (the same with everything a report needs), `figures/*.png` and
    `report.html` below `out`.

    Args:
        domain: name of the domain.
        reference: data file the generated one is held against.
        generated: data file to judge.
        out: folder for what is written.
        reference_rows: START:STOP of the reference; all if not given.
        generated_rows: START:STOP of the generated file; all if not given.
        training: data file the generator was fitted to, for the memorisation check; found through the run if not given.
        training_rows: START:STOP of it; if not given those of the run, or all.
        effort: "full" (metrics as published) or "quick" (fewer samples and epochs, said beside each).
        seed: of splits, classifiers and bootstraps.
        options: what the domain's reader needs to be told, such as `{"geometry": "ds2"}`.
        track: log to MLflow.
        run: the run whose model generated; else one around `out` or the generated file is taken, if the file names
            that run's model.

    Raises:
        ConfigError, DataError: bad input; nothing is written.
        OSError: `out` cannot be written; said before the work begins.
    """
    screen, seed = screen or Silent(), check_seed(seed)
    plugin, folder = domains.get(domain), Path(out)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: there is a file of this name; choose another folder.")
    if training_rows and not training:
        raise ConfigError("--training-rows chooses rows of the file that --training names; give both.")
    whole: dict[str, Dataset] = {}
    sides: dict[str, Dataset] = {}
    given = (("reference", reference, reference_rows), ("generated", generated, generated_rows))
    for what, file, rows in given:
        like = sides["reference"].description if sides else None
        whole[what] = plugin.open(Path(file), options or {}, like)
        sides[what] = select(whole[what], rows, what=str(file))
        screen.table(f"{what}: {file}", ("what", "value"), sides[what].summary())
    owner = existing_run(run) if run else owner_of(sides["generated"], folder, Path(generated))
    seen = (
        named_training(plugin, sides["generated"], Path(training), training_rows, owner, options or {})
        if training
        else recorded_training(plugin, sides["generated"], owner)
    )
    store = None
    with process_group(resolve_device("auto")) as world:
        if world.first:
            writable(folder)
        evaluation = plugin.evaluate(
            sides["reference"],
            sides["generated"],
            seen.data if isinstance(seen, Training) else seen,
            seed=seed,
            progress=screen.progress,
            effort=effort,
        )
        if world.first:
            inputs = {what: _input(file, rows, sides[what], sides[what].digest) for what, file, rows in given} | {
                "options": dict(options or {}),
                "effort": effort,
                "seed": seed,
            }
            inputs["generated"] |= {"file_rows": len(whole["generated"]), "origin": dict(whole["generated"].origin)}
            if isinstance(seen, Training):
                inputs["training"] = _input(seen.file, seen.rows, seen.data, seen.sha256)
            model = weights_digest(owner.model) if owner else None
            _write(folder, plugin.name, evaluation, inputs, model)
            write_report(folder, owner)
            if track:
                store = log_evaluation(evaluation, plugin.name, folder, owner, screen)
        world.barrier()  # no process ends before the report is there
    return Validated(folder, evaluation, owner, store)


def metrics_json(domain: str, evaluation: Evaluation, n_reference: int, n_generated: int) -> dict[str, Any]:
    """The content of `metrics.json`; what could not be measured is null."""
    keys = ("value", "stderr", "floor", "unit", "better", "definition")
    metrics = {name: {key: one.to_json()[key] for key in keys} for name, one in evaluation.estimates.items()}
    counts = {"n_reference": n_reference, "n_generated": n_generated}
    return {"schema": SCHEMA, "domain": domain, **counts, "metrics": metrics}


def _input(file: str | Path, rows: str | None, data: Dataset, sha256: str) -> dict[str, Any]:
    return {"file": str(file), "rows": rows or "all", "n": len(data), "sha256": sha256}


def _write(folder: Path, domain: str, evaluation: Evaluation, inputs: dict[str, Any], model_sha256: str | None) -> None:
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    figures = [
        {"file": _save(folder / "figures", name, figure), "caption": caption(name, figure)}
        for name, figure in evaluation.figures.items()
    ]
    n_reference, n_generated = inputs["reference"]["n"], inputs["generated"]["n"]
    write_json(folder / METRICS, metrics_json(domain, evaluation, n_reference, n_generated))
    content = {
        "schema": SCHEMA,
        "domain": domain,
        MODEL: model_sha256,
        "verdict": evaluation.verdict,
        "notes": list(evaluation.notes),
        "estimates": {name: _judged(one) for name, one in evaluation.estimates.items()},
        "published": [asdict(table) for table in evaluation.published],
        "figures": figures,
        "inputs": inputs,
        "provenance": gather(),
    }
    write_json(folder / EVALUATION, content)


def _judged(one: Estimate) -> dict[str, Any]:
    """An estimate with how far it lies beyond its floor, and whether that is within 3 standard errors."""
    sigmas = one.significance()
    judged = {"significance": sigmas if math.isfinite(sigmas) else None}
    return one.to_json() | judged | {"passes": None if math.isnan(sigmas) else sigmas <= SIGMAS}


def _save(folder: Path, name: str, figure: Figure) -> str:
    file = folder / (re.sub(r"[^\w.-]+", "_", name).strip("._") + ".png")
    figure.savefig(file, dpi=150)
    return f"figures/{file.name}"


def caption(name: str, figure: Figure) -> str:
    """What stands below a figure: its label if it has one, else its name in words."""
    label = figure.get_label()
    return str(label) if label else name.replace("_", " ").capitalize() + "."


def table(evaluation: Evaluation) -> list[tuple[str, str, str, str]]:
    """Rows (metric, value, floor, beyond floor) as people read them."""
    return [
        (
            name,
            with_error(one.value, one.stderr, one.unit, one.remark),
            with_error(one.floor, one.floor_stderr, one.unit),
            sigmas(_judged(one)),
        )
        for name, one in evaluation.estimates.items()
    ]
