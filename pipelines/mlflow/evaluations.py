"""Logs validations to MLflow, in the run of the model that was validated."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..console.screen import Screen
from ..run.folder import Run
from .run_log import LONGEST_VALUE, known_run
from .store import reach, store_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from ...domains.plugin import Evaluation

_HELD_AGAINST = {"halves": "/floor", "baseline": "/baseline", "nominal": "/nominal", "nothing": "/floor"}
_VALIDATIONS = "maquette.validations"


def log_evaluation(
    evaluation: Evaluation, domain: str, folder: Path, source_run: Run | None, screen: Screen
) -> str | None:
    """Log a validation's figures and files in the model's MLflow run, or in a new one if that is not known.

    Returns:
        The store that has it; None if it could not be logged.

    >>> import os
    >>> from unittest.mock import patch
    >>> from maquette.domains.plugin import Evaluation
    >>> from maquette.pipelines.console.screen import Silent
    >>> found = Evaluation({}, figures={}, published=(), verdict="indistinguishable")
    >>> with patch.dict(os.environ, MLFLOW_TRACKING_URI="ftp://nowhere"):  # a store that does not answer
    ...     log_evaluation(found, "calorimeter", Path("validation"), None, Silent()) is None
    True
    """
    found = reach(domain, screen)
    if found is None:
        return None
    client, experiment = found
    try:
        known = known_run(client, source_run) if source_run else None
        run_id = known or client.create_run(experiment, run_name=f"validate {folder.name}").info.run_id
        _log_estimates(client, run_id, evaluation)
        for name in ("metrics.json", "evaluation.json", "report.html"):
            client.log_artifact(run_id, str(folder / name))
        client.log_artifacts(run_id, str(folder / "figures"), "figures")
        if not known:
            client.set_terminated(run_id, "FINISHED")
    except Exception as error:  # MLflow and its databases raise all sorts of errors
        screen.warn(f"MLflow did not take the validation ({str(error).splitlines()[0]}); {folder} has everything.")
        return None
    return store_uri()


def _log_estimates(client: MlflowClient, run_id: str, evaluation: Evaluation) -> None:
    """Log the figures of a validation; each validation of a run is a step, so that a later one does not hide it."""
    from mlflow.entities import Metric, RunTag

    now, step = int(time.time() * 1000), int(client.get_run(run_id).data.tags.get(_VALIDATIONS, 0))
    figures = {
        f"validation/{name}{part}": value
        for name, one in evaluation.estimates.items()
        for part, value in (("", one.value), ("/stderr", one.stderr), (_HELD_AGAINST[one.against], one.floor))
        if value == value  # NaN: not measurable
    }
    metrics = [Metric(key, value, now, step) for key, value in figures.items()]
    tags = {"maquette.verdict": evaluation.verdict[:LONGEST_VALUE], _VALIDATIONS: str(step + 1)}
    client.log_batch(run_id, metrics=metrics, tags=[RunTag(key, value) for key, value in tags.items()])
