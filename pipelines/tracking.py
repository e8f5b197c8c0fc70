"""MLflow as the place where every run is found; a store that fails never costs a fit.

What is true lies in the run's folder (`losses.jsonl`, `run.json`); the store is told. Metrics are buffered and sent
in batches, because one `log_metric` costs 14 ms on SQLite and a batch of a thousand 139 ms. After a kill the store is
asked which steps it has, and only the others are sent, so that each step stands there once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from ..core.errors import Interrupted
from .atomic import read_json, write_json
from .config import RunConfig, flatten
from .figures import read_losses
from .paths import Run
from .provenance import git_state, requirements
from .screen import Screen
from .store import quiet, reach, store_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from ..domains.plugin import Evaluation

P = ParamSpec("P")

SECONDS_BETWEEN_SENDS = 15.0
_METRICS_PER_BATCH, _PARAMS_PER_BATCH = 1000, 100
_LONGEST_VALUE = 6000
_VALIDATIONS = "maquette.validations"


def _harmless(
    method: Callable[Concatenate[Tracker, P], None],
) -> Callable[Concatenate[Tracker, P], None]:
    """The store's failure becomes one warning, after which the tracker is off."""

    @wraps(method)
    def guarded(self: Tracker, /, *args: P.args, **kwargs: P.kwargs) -> None:
        if self.client is None:
            return
        try:
            method(self, *args, **kwargs)
        except Exception as error:  # MLflow and its databases raise whatever they like
            self.client = None
            first = (str(error).splitlines() or [type(error).__name__])[0]
            self.screen.warn(f"MLflow is off for the rest of this command ({first}); the run's folder has everything.")

    return guarded


class Tracker:
    """The MLflow run of a fit: a listener of the engine, and a context that closes the MLflow run.

    Args:
        run: the run's folder; `tracking.json` there says which MLflow run it is.
        config: logged as parameters, one per key.
        record: provenance, logged as tags.
        screen: where a failure of the store is told.
    """

    def __init__(self, run: Run, config: RunConfig, record: Mapping[str, Any], screen: Screen) -> None:
        self.run, self.screen = run, screen
        self.run_id = ""
        self._buffer: list[tuple[str, float, int, int]] = []
        self._sent: set[tuple[str, int]] = set()
        self._last_send = time.monotonic()
        self.client: MlflowClient | None = None
        if found := reach(config.domain, screen):
            self.client, experiment = found
            self._open(config, record, experiment)

    @_harmless
    def _open(self, config: RunConfig, record: Mapping[str, Any], experiment: str) -> None:
        client = self.client
        assert client
        self.run_id = _known_run(client, self.run) or ""
        if self.run_id:
            client.update_run(self.run_id, status="RUNNING")
            self._sent = _steps_in_store(client, self.run_id)
        else:
            name = self.run.folder.resolve().name
            self.run_id = client.create_run(experiment, run_name=name).info.run_id
            write_json(self.run.tracking, {"uri": store_uri(), "run_id": self.run_id})
            self._parameters(config)
        self._tags(config, record)
        for row in read_losses(self.run):  # what an earlier session wrote down but could not send
            self._keep(row)
        self._send()

    def _parameters(self, config: RunConfig) -> None:
        from mlflow.entities import Param

        assert self.client
        flat = flatten(config.model_dump(mode="json"))
        params = [Param(key, _plain(value)[:_LONGEST_VALUE]) for key, value in flat.items()]
        for start in range(0, len(params), _PARAMS_PER_BATCH):
            self.client.log_batch(self.run_id, params=params[start : start + _PARAMS_PER_BATCH])

    def _tags(self, config: RunConfig, record: Mapping[str, Any]) -> None:
        assert self.client
        tags = {
            "maquette.run": str(self.run.folder.resolve()),
            "maquette.config_hash": config.digest(),
            "maquette.seed": config.seed,
            "maquette.data_sha256": record["data"]["sha256"],
            "maquette.git": record["git"],
            "maquette.hardware": record["hardware"],
            "maquette.command": record["command"],
            "maquette.sessions": record["sessions"],
            **{f"package.{name}": version for name, version in record["packages"].items()},
        }
        for key, value in tags.items():
            self.client.set_tag(self.run_id, key, str(value)[:_LONGEST_VALUE])

    def stage(self, name: str, steps: int) -> None:
        pass

    @_harmless
    def row(self, row: Mapping[str, Any]) -> None:
        self._keep(row)
        if len(self._buffer) >= _METRICS_PER_BATCH or time.monotonic() - self._last_send > SECONDS_BETWEEN_SENDS:
            self._send()

    @_harmless
    def checkpoint(self, step: int) -> None:
        self._send()

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._finish()
        else:
            self._abandon("KILLED" if issubclass(kind, Interrupted | KeyboardInterrupt) else "FAILED")

    @_harmless
    def _finish(self) -> None:
        """Send what is left, the files and the model, and close the MLflow run."""
        assert self.client
        self._send()
        for file in (self.run.config, self.run.provenance, self.run.report):
            self.client.log_artifact(self.run_id, str(file))
        self.client.log_artifacts(self.run_id, str(self.run.figures), "figures")
        with quiet():
            _log_model(self.client, self.run_id, self.run)
        self.client.set_terminated(self.run_id, "FINISHED")

    @_harmless
    def _abandon(self, status: str) -> None:
        assert self.client
        self._send()
        self.client.set_terminated(self.run_id, status)

    def _keep(self, row: Mapping[str, Any]) -> None:
        now = int(time.time() * 1000)
        step, prefix = int(row["step"]), f"{row['stage']}/{row['player']}"
        for name, value in row.items():
            key = f"{prefix}/{name}"
            if (
                name not in ("stage", "player", "step")
                and isinstance(value, int | float)
                and (key, step) not in self._sent
            ):
                self._sent.add((key, step))
                self._buffer.append((key, float(value), now, step))

    def _send(self) -> None:
        from mlflow.entities import Metric

        assert self.client
        while self._buffer:
            batch = self._buffer[:_METRICS_PER_BATCH]
            self.client.log_batch(self.run_id, metrics=[Metric(*one) for one in batch])
            del self._buffer[: len(batch)]
        self._last_send = time.monotonic()


def _known_run(client: MlflowClient, run: Run) -> str | None:
    """The MLflow run that the folder names, if this store has it."""
    if not run.tracking.is_file():
        return None
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(str(read_json(run.tracking).get("run_id"))).info.run_id
    except MlflowException:
        return None


def _steps_in_store(client: MlflowClient, run_id: str) -> set[tuple[str, int]]:
    keys = client.get_run(run_id).data.metrics
    return {(key, metric.step) for key in keys for metric in client.get_metric_history(run_id, key)}


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _log_model(client: MlflowClient, run_id: str, run: Run) -> None:
    """The model as a pyfunc from code, `runs:/ID/model`: the script and the safetensors artefact, no pickle."""
    from mlflow.models import ModelSignature
    from mlflow.pyfunc import save_model
    from mlflow.types import ParamSchema, ParamSpec

    from .. import __version__

    with TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        save_model(
            path,
            python_model=str(Path(__file__).with_name("served.py")),
            artifacts={"model": str(run.model)},
            # columns are the model's own to check: MLflow would refuse whole numbers and the empty table
            signature=ModelSignature(params=ParamSchema([ParamSpec("seed", "long", 0)])),
            pip_requirements=requirements(),
            metadata={"maquette": __version__, "git": git_state() or "unknown"},
        )
        client.log_artifacts(run_id, str(path), "model")


def log_evaluation(evaluation: Evaluation, domain: str, folder: Path, owner: Run | None, screen: Screen) -> str | None:
    """Log a validation's figures and files in the model's MLflow run, or in one of its own if that is not known.

    Returns:
        The store that has it; None if it could not be logged.
    """
    found = reach(domain, screen)
    if found is None:
        return None
    client, experiment = found
    try:
        known = _known_run(client, owner) if owner else None
        run_id = known or client.create_run(experiment, run_name=f"validate {folder.name}").info.run_id
        _log_estimates(client, run_id, evaluation)
        for name in ("metrics.json", "evaluation.json", "report.html"):
            client.log_artifact(run_id, str(folder / name))
        client.log_artifacts(run_id, str(folder / "figures"), "figures")
        if not known:
            client.set_terminated(run_id, "FINISHED")
    except Exception as error:  # MLflow and its databases raise whatever they like
        screen.warn(f"MLflow did not take the validation ({str(error).splitlines()[0]}); {folder} has everything.")
        return None
    return store_uri()


def _log_estimates(client: MlflowClient, run_id: str, evaluation: Evaluation) -> None:
    """Log the figures of a run's validation; each validation is a step, so that a later one does not hide it."""
    from mlflow.entities import Metric, RunTag

    now, step = int(time.time() * 1000), int(client.get_run(run_id).data.tags.get(_VALIDATIONS, 0))
    figures = {
        f"validation/{name}{part}": value
        for name, one in evaluation.estimates.items()
        for part, value in (("", one.value), ("/stderr", one.stderr), ("/floor", one.floor))
        if value == value  # NaN: not measurable
    }
    metrics = [Metric(key, value, now, step) for key, value in figures.items()]
    tags = {"maquette.verdict": evaluation.verdict[:_LONGEST_VALUE], _VALIDATIONS: str(step + 1)}
    client.log_batch(run_id, metrics=metrics, tags=[RunTag(key, value) for key, value in tags.items()])
