"""`maquette validate`: compares a file that meets the data spec, whoever made it, with reference data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ..core.artifact import weights_digest
from ..core.engine.world import process_group
from ..core.errors import ConfigError
from ..domains import domains
from ..domains.plugin import SOURCE_SHA256, Dataset, Evaluation, Paired
from .arguments import DataSide, check_seed, resolve_device
from .console.numbers import sigmas, with_error
from .console.screen import Screen, Silent
from .files import own_files, writable, write_json, write_png
from .mlflow.evaluations import log_evaluation
from .reporting.evaluation import (
    FILE,
    EstimateRecord,
    EvaluationRecord,
    FigureRecord,
    GeneratedRecord,
    InputsRecord,
    PublishedRecord,
    SideRecord,
)
from .reporting.page import write_page
from .run.digests import whole_digest
from .run.folder import Run, existing_run
from .run.provenance import gather
from .run.training_data import TrainingData, find_source_run, named_training_data, recorded_training_data

METRICS = "metrics.json"
METRICS_SCHEMA = 1
PAGE = "report.html"


@dataclass(frozen=True)
class Validated:
    """What a validation found.

    Attributes:
        folder: where it is written.
        evaluation: figures and verdict.
        source_run: the run whose model generated, if that is known.
        store: the MLflow store that has it, if it was logged.
    """

    folder: Path
    evaluation: Evaluation
    source_run: Run | None
    store: str | None = None


def validate(
    domain: str,
    *,
    reference: str | Path | DataSide,
    generated: str | Path | DataSide,
    out: str | Path,
    training: str | Path | DataSide | None = None,
    effort: str = "full",
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    run: str | Path | None = None,
    track: bool = True,
    screen: Screen | None = None,
) -> Validated:
    """Compare generated with reference data by the domain's physics metrics; under torchrun, call it on every rank.

    Writes `metrics.json`, `evaluation.json` (the same with everything a report needs), `figures/*.png` and
    `report.html` below `out`. A side is a data file, or a `DataSide` with some of its rows:
    `reference=DataSide("showers.h5", rows="42000:50000")`.

    Args:
        domain: name of the domain.
        reference: data that the generated ones are compared with.
        generated: data to judge.
        out: folder for what is written.
        training: data that the generator was fitted to, for the memorisation check; found through the run if not
            given. Without rows they are those of the run, or all.
        effort: "full" (metrics as published), "quick" (fewer samples and epochs, as a note says) or "smoke" (tests).
        seed: of splits, classifiers and bootstraps.
        options: of the domain's reader, as `--option KEY=VALUE` gives them; the page of the domain lists them.
        run: the run whose model generated; if not given, one around `out` or the generated file, if the file names
            that run's model.
        track: log to MLflow.
        screen: where progress and results are shown; nowhere if not given.

    Raises:
        ConfigError, DataError: bad input; nothing is written.
        OSError: `out` cannot be written; raised before the work begins.

    >>> from tempfile import TemporaryDirectory
    >>> from maquette import simulate
    >>> with TemporaryDirectory() as folder:
    ...     data = str(simulate("calorimeter", n=160, out=f"{folder}/showers.h5").file)
    ...     one, other = DataSide(data, rows="0:80"), DataSide(data, rows="80:160")
    ...     found = validate(
    ...         "calorimeter", reference=one, generated=other, out=f"{folder}/validation", effort="smoke", track=False
    ...     )
    >>> isinstance(found, Validated), found.store  # it was not logged
    (True, None)
    >>> found.evaluation.verdict
    'indistinguishable at n = 40: all 23 metrics lie within 3 sigma of their floors'
    """
    screen, seed = screen or Silent(), check_seed(seed)
    plugin, folder, options = domains.get(domain), Path(out), dict(options or {})
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: there is a file of this name; choose another folder.")
    expected, found = DataSide.of(reference), DataSide.of(generated)
    expected_file = plugin.open(expected.path, options)
    expected_data = expected.select(expected_file)
    screen.table(f"reference: {expected.file}", ("what", "value"), expected_data.summary())
    whole = plugin.open(found.path, options, expected_data.description)
    found_data = found.select(whole)
    screen.table(f"generated: {found.file}", ("what", "value"), found_data.summary())
    source_sha256 = None
    if isinstance(found_data, Paired) and found_data.source_rows is not None:
        source_sha256 = whole_digest(plugin, expected.path, expected_file, options)
        _expect_source(found_data.origin.get(SOURCE_SHA256), source_sha256, found, expected)
    source_run = existing_run(run) if run else find_source_run(found_data, folder, found.path)
    training_data = (
        named_training_data(plugin, found_data, DataSide.of(training), source_run, options)
        if training
        else recorded_training_data(plugin, found_data, source_run)
    )
    known = training_data if isinstance(training_data, TrainingData) else None
    store = None
    with process_group(resolve_device("auto")) as world:
        if world.first:
            writable(folder)
        evaluation = plugin.evaluate(
            expected_data,
            found_data,
            training_data.data if isinstance(training_data, TrainingData) else training_data,
            seed=seed,
            progress=screen.progress,
            effort=effort,
        )
        if world.first:
            inputs = InputsRecord(
                reference=_side(expected, expected_data, source_sha256),
                generated=GeneratedRecord(
                    **dict(_side(found, found_data)), file_rows=len(whole), origin=dict(whole.origin)
                ),
                training=known
                and SideRecord(file=str(known.file), rows=known.rows, n=len(known.data), sha256=known.sha256),
                options=options,
                effort=effort,
                seed=seed,
            )
            _write(folder, plugin.name, evaluation, inputs, source_run)
            write_page(folder / PAGE, folder, source_run)
            if track:
                store = log_evaluation(evaluation, plugin.name, folder, source_run, screen)
        world.barrier()  # no process ends before the report is there
    return Validated(folder, evaluation, source_run, store)


def metrics_json(domain: str, evaluation: Evaluation, n_reference: int, n_generated: int) -> dict[str, Any]:
    """The content of `metrics.json`; what could not be measured is null.

    >>> from maquette.core.statistics.estimate import Estimate
    >>> auc = Estimate(value=0.6, stderr=0.01, floor=0.5, n=100, unit="", better="lower", definition="ROC AUC.")
    >>> evaluation = Evaluation({"auc": auc}, figures={}, published=(), verdict="distinguishable by auc")
    >>> metrics_json("calorimeter", evaluation, 200, 100)["metrics"]["auc"]["floor"]
    0.5
    """
    keys = ("value", "stderr", "floor", "unit", "better", "definition", "against", "baseline")
    metrics = {name: {key: one.to_json()[key] for key in keys} for name, one in evaluation.estimates.items()}
    counts = {"n_reference": n_reference, "n_generated": n_generated}
    return {"schema": METRICS_SCHEMA, "domain": domain, **counts, "metrics": metrics}


def _expect_source(named: str | None, sha256: str, generated: DataSide, reference: DataSide) -> None:
    """Raise `ConfigError` if the generated file names another one than the reference, to whose rows it belongs."""
    if named not in (None, sha256):
        raise ConfigError(
            f"{generated.file}: its samples belong to the rows of a file with SHA-256 {named:.12}, but that of "
            f"{reference.file} is {sha256:.12}; give as --reference the file that --conditions-from named."
        )


def _side(side: DataSide, data: Dataset, file_sha256: str | None = None) -> SideRecord:
    digest = data.digest
    return SideRecord(file=str(side.file), rows=side.rows or "all", n=len(data), sha256=digest, file_sha256=file_sha256)


def _write(folder: Path, domain: str, evaluation: Evaluation, inputs: InputsRecord, source_run: Run | None) -> None:
    own_files(folder / "figures")
    figures = [
        FigureRecord(file=_save(folder / "figures", name, figure), caption=caption(name, figure))
        for name, figure in evaluation.figures.items()
    ]
    write_json(folder / METRICS, metrics_json(domain, evaluation, inputs.reference.n, inputs.generated.n))
    EvaluationRecord(
        domain=domain,
        model_sha256=weights_digest(source_run.model) if source_run else None,
        verdict=evaluation.verdict,
        notes=list(evaluation.notes),
        estimates={name: EstimateRecord.of(one) for name, one in evaluation.estimates.items()},
        published=[PublishedRecord.model_validate(asdict(table)) for table in evaluation.published],
        figures=figures,
        inputs=inputs,
        provenance=gather(),
    ).write(folder / FILE)


def _save(folder: Path, name: str, figure: Figure) -> str:
    file = folder / (re.sub(r"[^\w.-]+", "_", name).strip("._") + ".png")
    write_png(file, figure)
    return f"figures/{file.name}"


def caption(name: str, figure: Figure) -> str:
    """The caption of a figure: its label if it has one, else its name as words.

    >>> caption("layer_energies", Figure())
    'Layer energies.'
    """
    label = figure.get_label()
    return str(label) if label else name.replace("_", " ").capitalize() + "."


def metrics_table(evaluation: Evaluation) -> list[tuple[str, str, str, str]]:
    """Rows (metric, value, what it is held against, how far beyond that) as people read them.

    >>> from maquette.core.statistics.estimate import Estimate
    >>> auc = Estimate(value=0.6, stderr=0.01, floor=0.5, n=100, unit="", better="lower", definition="ROC AUC.")
    >>> metrics_table(Evaluation({"auc": auc}, figures={}, published=(), verdict="distinguishable by auc"))
    [('auc', '0.600 ± 0.010', '0.500', '10.0 σ')]
    """
    judged = ((name, EstimateRecord.of(one)) for name, one in evaluation.estimates.items())
    return [
        (
            name,
            with_error(one.value, one.stderr, one.unit, one.remark),
            one.held_against(),
            sigmas(one.significance, one.passes),
        )
        for name, one in judged
    ]
