"""The MLflow store: where it is, and a connection that two processes may open at once."""

from __future__ import annotations

import logging
import os
import shlex
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, ClassVar

from filelock import FileLock
from pydantic import Field

from ...core.artifact import sync
from ..console.screen import Screen
from ..files import Record
from ..run.folder import Run

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # nothing goes over the network by itself
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # the verbs have their own
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # a server that is gone should not hold up a fit for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
"""Environment variables that MLflow reads; the user's own values come first."""
for _name, _value in _SETTINGS.items():
    os.environ.setdefault(_name, _value)

_SECONDS_FOR_LOCK = 120


def store_uri() -> str:
    """The tracking store: $MLFLOW_TRACKING_URI, else `mlflow.db` in the working folder.

    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, MLFLOW_TRACKING_URI="https://mlflow.example.org"):
    ...     store_uri()
    'https://mlflow.example.org'
    """
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path('mlflow.db').resolve()}"


def how_to_open(uri: str) -> str:
    """The command that shows a store's runs in a browser, or the address of a server.

    >>> how_to_open("sqlite:////tmp/mlflow.db")
    'mlflow ui --backend-store-uri sqlite:////tmp/mlflow.db'
    """
    return shlex.join(["mlflow", "ui", "--backend-store-uri", uri]) if uri.startswith("sqlite:") else uri


class TrackingRecord(Record):
    """The content of a run's `tracking.json`.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     run = Run(Path(folder))
    ...     TrackingRecord(uri="sqlite:////tmp/mlflow.db", run_id="4c1f").write(run.tracking)
    ...     read_tracking(run).run_id
    '4c1f'
    """

    remedy: ClassVar[str] = "remove it, and the run is logged anew"

    uri: str = Field(description="the store")
    run_id: str = Field(description="the MLflow run")
    complete: bool = Field(default=False, description="whether the store has all of the finished fit")


def read_tracking(run: Run) -> TrackingRecord | None:
    """Where a run is logged; None if it is not, or the folder is no run.

    Raises:
        ArtifactError: a damaged record.
    """
    return TrackingRecord.read(run.tracking) if run.tracking.is_file() else None


def connect(experiment: str) -> tuple[MlflowClient, str]:
    """A client of the store and the id of an experiment, both created if they do not exist.

    Two processes that create the same SQLite store at once make each other crash, so a file lock orders them.
    """
    from mlflow import MlflowClient

    with quiet():
        uri = store_uri()
        with _locked(uri) as file:
            if file is not None and not (file.exists() and file.stat().st_size):
                _create(file)
            client = MlflowClient(tracking_uri=uri)
            found = client.get_experiment_by_name(experiment)
            if found:
                return client, found.experiment_id
            return client, client.create_experiment(experiment, artifact_location=_artifacts(uri))


def _store_file(uri: str) -> Path | None:
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def _artifacts(uri: str) -> str | None:
    """The folder beside a local store, whatever the working folder of later commands; None leaves it to a server."""
    file = _store_file(uri)
    return file.with_name("mlartifacts").resolve().as_uri() if file else None


@contextmanager
def _locked(uri: str) -> Iterator[Path | None]:
    """Keep other processes out of a local store, whose file is returned."""
    file = _store_file(uri)
    if file is None:
        yield None
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(file.name + ".lock"), timeout=_SECONDS_FOR_LOCK):
        yield file


def _create(file: Path) -> None:
    """Make a fresh store whole or not at all: one whose migrations are cut short can never be opened again."""
    from mlflow import MlflowClient

    litter = f".{file.name}."
    for left in file.parent.iterdir():  # of killed processes, since the lock is held
        if left.name.startswith(litter) and ".new" in left.name:
            left.unlink()
    fresh = file.with_name(f"{litter}{token_hex(8)}.new")  # never the same, because MLflow remembers the stores it saw
    try:
        MlflowClient(tracking_uri=f"sqlite:///{fresh}").search_experiments(max_results=1)  # runs the migrations
        sync(fresh)
        os.replace(fresh, file)
    finally:
        fresh.unlink(missing_ok=True)
    sync(file.parent)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence MLflow's loggers and warnings: a fresh store logs each of its migrations.

    >>> with quiet():
    ...     logging.getLogger("mlflow").warning("nobody reads this")
    """
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
    """Client and experiment id; None, with a warning, where the store does not answer.

    >>> from unittest.mock import patch
    >>> from maquette.pipelines.console.screen import Silent
    >>> class Printing(Silent):
    ...     def warn(self, text):
    ...         print(text)
    >>> with patch.dict(os.environ, MLFLOW_TRACKING_URI="ftp://nowhere"):
    ...     reach("calorimeter", Printing()) is None
    MLflow cannot be reached (...); the run's folder has everything.
    True
    """
    try:
        return connect(experiment)
    except Exception as error:
        screen.warn(f"MLflow cannot be reached ({str(error).splitlines()[0]}); the run's folder has everything.")
        return None
