"""The MLflow store: where it is, and how two processes may open a fresh one at once."""

from __future__ import annotations

import logging
import os
import shlex
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from .atomic import read_json
from .paths import Run
from .screen import Screen

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # nothing goes over the network by itself
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # the verb has its own
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # a server that is gone should not hold up a fit for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
"""MLflow reads these from the environment; the user's own come first."""
for _name, _value in _SETTINGS.items():
    os.environ.setdefault(_name, _value)

_SECONDS_FOR_LOCK = 120


def store_uri() -> str:
    """The tracking store: $MLFLOW_TRACKING_URI, else `mlflow.db` in the working folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path('mlflow.db').resolve()}"


def how_to_open(uri: str) -> str:
    """The command that shows a store's runs in a browser, or the address of a server."""
    return shlex.join(["mlflow", "ui", "--backend-store-uri", uri]) if uri.startswith("sqlite:") else uri


def store_of(run: Run) -> str | None:
    """The store that a run is logged in, as its folder says; None if it is not logged, or the folder is no run."""
    return str(read_json(run.tracking).get("uri")) if run.tracking.is_file() else None


def connect(experiment: str) -> tuple[MlflowClient, str]:
    """A client of the store and the id of an experiment, both made if they are not there.

    Two processes that create a fresh SQLite store at once crash each other, so a file lock lets one go first.
    """
    from mlflow import MlflowClient

    with quiet():
        uri = store_uri()
        with _first(uri):
            client = MlflowClient(tracking_uri=uri)
            found = client.get_experiment_by_name(experiment)
            if found:
                return client, found.experiment_id
            return client, client.create_experiment(experiment, artifact_location=_artifacts(uri))


def _store_file(uri: str) -> Path | None:
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def _artifacts(uri: str) -> str | None:
    """Beside a local store, wherever later commands run; a server knows its own place."""
    file = _store_file(uri)
    return file.with_name("mlartifacts").resolve().as_uri() if file else None


@contextmanager
def _first(uri: str) -> Iterator[None]:
    file = _store_file(uri)
    if file is None:
        yield
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(file.name + ".lock"), timeout=_SECONDS_FOR_LOCK):
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """A fresh store tells of each of its migrations; nobody asked."""
    loggers = [logging.getLogger(name) for name in ("alembic", "mlflow")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice on how to log a model
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def reach(experiment: str, screen: Screen) -> tuple[MlflowClient, str] | None:
    """Client and experiment id; None, with a warning, where the store does not answer."""
    try:
        return connect(experiment)
    except Exception as error:
        screen.warn(f"MLflow cannot be reached ({str(error).splitlines()[0]}); the run's folder has everything.")
        return None
