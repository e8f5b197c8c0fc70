"""The MLflow run of a fit: what is sent there, each thing once.

Metrics are buffered and sent in batches, because one `log_metric` costs 14 ms on SQLite and a batch of a thousand
139 ms. After a kill the steps that the store has are read from it, and only the others are sent, so that each step is
there once.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ..._version import __version__
from ...core.engine import pace
from ..run.config import RunConfig, flatten
from ..run.folder import Run
from ..run.loss_curves import read_losses
from ..run.provenance import git_state, requirements
from ..run.record import RunRecord
from .store import TrackingRecord, quiet, read_tracking, store_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

SECONDS_BETWEEN_SENDS = 15.0
LONGEST_VALUE = 6000
"""Most characters of a parameter or tag."""
_METRICS_PER_BATCH, _PARAMS_PER_BATCH = 1000, 100
_IDENTITY = "maquette.fit"


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
        TrackingRecord(uri=store_uri(), run_id=self.run_id, complete=True).write(self.run.tracking)

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


def open_log(client: MlflowClient, experiment: str, run: Run, config: RunConfig, record: RunRecord) -> RunLog:
    """The log of a run: the MLflow run that its folder names if this store has it, else a new one.

    MLflow and its databases raise all sorts of errors.
    """
    identity = _identity(run, record)
    run_id = known_run(client, run) or _orphan(client, experiment, identity)
    if run_id:
        client.update_run(run_id, status="RUNNING")
    else:
        tags, name = {_IDENTITY: identity}, run.folder.resolve().name
        run_id = client.create_run(experiment, run_name=name, tags=tags).info.run_id
    TrackingRecord(uri=store_uri(), run_id=run_id).write(run.tracking)
    log = RunLog(client, run, run_id, _sent(client, run_id))
    _log_parameters(client, run_id, config)
    _log_tags(client, run_id, run, record)
    log.catch_up()
    return log


def known_run(client: MlflowClient, run: Run) -> str | None:
    """The MLflow run that the folder names, if this store has it.

    >>> known_run(None, Run(Path("runs/a"))) is None  # it names none
    True
    """
    from mlflow.exceptions import MlflowException

    tracking = read_tracking(run)
    if tracking is None:
        return None
    try:
        return client.get_run(tracking.run_id).info.run_id
    except MlflowException:
        return None


def _identity(run: Run, record: RunRecord) -> str:
    """Tells a fit from all others of its folder; MLflow's filters take no arbitrary paths."""
    return hashlib.sha256(f"{run.folder.resolve()}\n{record.started}".encode()).hexdigest()


def _orphan(client: MlflowClient, experiment: str, identity: str) -> str | None:
    """The MLflow run of a fit that was killed before its folder named it."""
    found = client.search_runs([experiment], filter_string=f"tags.`{_IDENTITY}` = '{identity}'", max_results=1)
    return found[0].info.run_id if found else None


def _sent(client: MlflowClient, run_id: str) -> set[tuple[str, int]]:
    """Metrics (name, step) that the store has of a run."""
    keys = client.get_run(run_id).data.metrics
    return {(key, metric.step) for key in keys for metric in client.get_metric_history(run_id, key)}


def _log_parameters(client: MlflowClient, run_id: str, config: RunConfig) -> None:
    """Log what the store does not have yet: a kill may have come between two batches."""
    from mlflow.entities import Param

    flat = flatten(config.model_dump(mode="json"))
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in flat.items()}
    there = client.get_run(run_id).data.params
    params = [Param(key, text[:LONGEST_VALUE]) for key, text in texts.items() if key not in there]
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
        client.set_tag(run_id, key, str(value)[:LONGEST_VALUE])


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
