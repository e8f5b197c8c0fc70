"""Logs fits and validations to MLflow. A store that fails never costs a fit.

The run's folder (`losses.jsonl`, `run.json`) is complete in itself; the store gets a copy. Metrics are buffered and
sent in batches, because one `log_metric` costs 14 ms on SQLite and a batch of a thousand 139 ms. After a kill the
steps that the store has are read from it, and only the others are sent, so that each step is there once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ..._version import __version__
from ...core.engine import pace
from ...core.errors import Interrupted
from ..console.screen import Screen
from ..run.config import RunConfig, flatten
from ..run.folder import Run
from ..run.loss_curves import read_losses
from ..run.provenance import git_state, requirements
from ..run.record import RunRecord
from .store import TrackingRecord, quiet, reach, read_tracking, store_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from ...domains.plugin import Evaluation

SECONDS_BETWEEN_SENDS = 15.0
_METRICS_PER_BATCH, _PARAMS_PER_BATCH = 1000, 100
_LONGEST_VALUE = 6000
_HELD_AGAINST = {"halves": "/floor", "baseline": "/baseline", "nominal": "/nominal", "nothing": "/floor"}
_VALIDATIONS = "maquette.validations"


class RunLog:
    """The MLflow run of a fit, to which metrics are sent in batches. Any of its methods may raise.

    Args:
        client: of the store.
        run: the run's folder.
        run_id: of the MLflow run.
        sent: metrics (name, step) that the store has already.

    >>> class Client:
    ...     def log_batch(self, run_id, metrics):
    ...         print(run_id, [(metric.key, metric.value, metric.step) for metric in metrics])
    >>> log = RunLog(Client(), Run(Path("runs/a")), "4c1f", sent={("flow/model/loss", 1)})
    >>> log.row({"stage": "flow", "player": "model", "step": 1, "loss": 2.5})  # was sent before
    >>> log.row({"stage": "flow", "player": "model", "step": 2, "loss": 2.0})
    >>> log.send()
    4c1f [('flow/model/loss', 2.0, 2)]
    """

    def __init__(self, client: MlflowClient, run: Run, run_id: str, sent: set[tuple[str, int]] | None = None) -> None:
        self.client, self.run, self.run_id = client, run, run_id
        self.sent = sent or set()
        self._buffer: list[tuple[str, float, int, int]] = []
        self._last_send = time.monotonic()

    def row(self, row: Mapping[str, Any]) -> None:
        """Buffer the figures of a row of the loss file; send if there are many or the last time is long ago."""
        self._buffer_row(row)
        if len(self._buffer) >= _METRICS_PER_BATCH or time.monotonic() - self._last_send > SECONDS_BETWEEN_SENDS:
            self.send()

    def catch_up(self) -> None:
        """Send what an earlier session wrote to the loss file but could not send."""
        for row in read_losses(self.run):
            self._buffer_row(row)
        self.send()

    def send(self) -> None:
        """Send what is buffered."""
        from mlflow.entities import Metric

        while self._buffer:
            batch = self._buffer[:_METRICS_PER_BATCH]
            self.client.log_batch(self.run_id, metrics=[Metric(*one) for one in batch])
            del self._buffer[: len(batch)]
        self._last_send = time.monotonic()

    def finish(self) -> None:
        """Send what is left, the files and the model, and close the MLflow run."""
        self.send()
        for file in (self.run.config, self.run.record, self.run.report):
            self.client.log_artifact(self.run_id, str(file))
        self.client.log_artifacts(self.run_id, str(self.run.figures), "figures")
        with quiet():
            _log_model(self.client, self.run_id, self.run)
        self.client.set_terminated(self.run_id, "FINISHED")

    def abandon(self, status: str) -> None:
        """Send what is left and close the MLflow run with a status."""
        self.send()
        self.client.set_terminated(self.run_id, status)

    def _buffer_row(self, row: Mapping[str, Any]) -> None:
        now, step = int(time.time() * 1000), int(row["step"])
        for name, value in row.items():
            key = _metric_name(row, name)
            if (
                name not in ("stage", "player", "step")
                and isinstance(value, int | float)
                and (key, step) not in self.sent
            ):
                self.sent.add((key, step))
                self._buffer.append((key, float(value), now, step))


def _metric_name(row: Mapping[str, Any], name: str) -> str:
    """`STAGE/PLAYER/NAME`, below `system/` for the pace of the fit; a name that is a path already stays as it is."""
    if "/" in name:
        return name
    path = f"{row['stage']}/{row['player']}/{name}"
    return f"system/{path}" if name in pace.KEYS else path


def _open_log(client: MlflowClient, experiment: str, run: Run, config: RunConfig, record: RunRecord) -> RunLog:
    """The log of a run: the MLflow run that its folder names if this store has it, else a new one."""
    if run_id := _known_run(client, run):
        client.update_run(run_id, status="RUNNING")
        log = RunLog(client, run, run_id, _sent(client, run_id))
    else:
        run_id = client.create_run(experiment, run_name=run.folder.resolve().name).info.run_id
        TrackingRecord(uri=store_uri(), run_id=run_id).write(run.tracking)
        _log_parameters(client, run_id, config)
        log = RunLog(client, run, run_id)
    _log_tags(client, run_id, run, record)
    log.catch_up()
    return log


class Tracker:
    """Logs a fit: a listener of the engine, and a context at whose end the MLflow run is closed.

    The first failure of the store becomes a warning, after which nothing more is logged.

    Args:
        run: the run's folder; its `tracking.json` names the MLflow run.
        config: logged as parameters, one per key.
        record: provenance, logged as tags.
        screen: for the warning.

    A store that does not answer costs a warning, not the fit:

    >>> import os
    >>> from types import SimpleNamespace
    >>> from unittest.mock import patch
    >>> from maquette.pipelines.console.screen import Silent
    >>> class Printing(Silent):
    ...     def warn(self, text):
    ...         print(text)
    >>> config, nowhere = SimpleNamespace(domain="calorimeter"), patch.dict(os.environ, MLFLOW_TRACKING_URI="ftp://nowhere")
    >>> with nowhere, Tracker(Run(Path("runs/a")), config, record=None, screen=Printing()):
    ...     pass  # a fit
    MLflow cannot be reached (...); the run's folder has everything.
    """

    def __init__(self, run: Run, config: RunConfig, record: RunRecord, screen: Screen) -> None:
        self.screen = screen
        self.log: RunLog | None = None
        if found := reach(config.domain, screen):
            client, experiment = found
            try:
                self.log = _open_log(client, experiment, run, config, record)
            except Exception as error:
                self._give_up(error)

    def stage(self, name: str, steps: int) -> None:
        pass

    def row(self, row: Mapping[str, Any]) -> None:
        self._attempt(lambda log: log.row(row))

    def checkpoint(self, step: int) -> None:
        self._attempt(RunLog.send)

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._attempt(RunLog.finish)
        else:
            status = "KILLED" if issubclass(kind, Interrupted | KeyboardInterrupt) else "FAILED"
            self._attempt(lambda log: log.abandon(status))

    def _attempt(self, action: Callable[[RunLog], None]) -> None:
        if self.log is None:
            return
        try:
            action(self.log)
        except Exception as error:  # MLflow and its databases raise all sorts of errors
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.log = None
        first = (str(error).splitlines() or [type(error).__name__])[0]
        self.screen.warn(f"MLflow is off for the rest of this command ({first}); the run's folder has everything.")


def _known_run(client: MlflowClient, run: Run) -> str | None:
    """The MLflow run that the folder names, if this store has it."""
    from mlflow.exceptions import MlflowException

    tracking = read_tracking(run)
    if tracking is None:
        return None
    try:
        return client.get_run(tracking.run_id).info.run_id
    except MlflowException:
        return None


def _sent(client: MlflowClient, run_id: str) -> set[tuple[str, int]]:
    """Metrics (name, step) that the store has of a run."""
    keys = client.get_run(run_id).data.metrics
    return {(key, metric.step) for key in keys for metric in client.get_metric_history(run_id, key)}


def _log_parameters(client: MlflowClient, run_id: str, config: RunConfig) -> None:
    from mlflow.entities import Param

    flat = flatten(config.model_dump(mode="json"))
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in flat.items()}
    params = [Param(key, text[:_LONGEST_VALUE]) for key, text in texts.items()]
    for start in range(0, len(params), _PARAMS_PER_BATCH):
        client.log_batch(run_id, params=params[start : start + _PARAMS_PER_BATCH])


def _log_tags(client: MlflowClient, run_id: str, run: Run, record: RunRecord) -> None:
    tags = {
        "maquette.run": run.folder.resolve(),
        "maquette.config_hash": record.config_hash,
        "maquette.seed": record.seed,
        "maquette.data_sha256": record.data.sha256,
        **{f"maquette.data_sha256.{data.name}": data.sha256 for data in record.other_data},
        "maquette.git": record.git,
        "maquette.hardware": record.hardware,
        "maquette.command": record.command,
        "maquette.sessions": record.sessions,
        **{f"package.{name}": version for name, version in record.packages.items()},
        **record.tags,
    }
    for key, value in tags.items():
        client.set_tag(run_id, key, str(value)[:_LONGEST_VALUE])


def _log_model(client: MlflowClient, run_id: str, run: Run) -> None:
    """The model as a pyfunc, `runs:/ID/model`: the safetensors artefact, and the name of the module that loads it."""
    from mlflow import types
    from mlflow.models import ModelSignature
    from mlflow.pyfunc import save_model

    from . import pyfunc  # imports pandas

    with TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        save_model(
            path,
            loader_module=pyfunc.__name__,
            data_path=str(run.model),
            # the model checks its columns itself: MLflow would refuse whole numbers and the empty table
            signature=ModelSignature(params=types.ParamSchema([types.ParamSpec("seed", "long", 0)])),
            pip_requirements=requirements(),
            metadata={"maquette": __version__, "git": git_state() or "unknown"},
        )
        client.log_artifacts(run_id, str(path), "model")


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
        known = _known_run(client, source_run) if source_run else None
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
    tags = {"maquette.verdict": evaluation.verdict[:_LONGEST_VALUE], _VALIDATIONS: str(step + 1)}
    client.log_batch(run_id, metrics=metrics, tags=[RunTag(key, value) for key, value in tags.items()])
