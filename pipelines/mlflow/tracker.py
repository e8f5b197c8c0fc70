"""Logs fits to MLflow. A store that fails never costs a fit.

The run's folder (`losses.jsonl`, `run.json`) is complete in itself; the store gets a copy. A store that failed is tried
once more at the end; what it then still lacks, `fit --resume` sends (`complete`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...core.errors import Interrupted
from ..console.screen import Screen, Silent
from ..run.config import RunConfig
from ..run.folder import Run
from ..run.record import RunRecord, read_record
from .run_log import RunLog, open_log
from .store import reach, read_tracking, store_uri


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
    >>> from pathlib import Path
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
        self.run, self.config, self.record, self.screen = run, config, record, screen
        self.log: RunLog | None = None
        self._open(screen)

    def _open(self, screen: Screen) -> None:
        if found := reach(self.config.domain, screen):
            try:
                self.log = open_log(*found, self.run, self.config, self.record)
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
        if self.log is None and kind is None:
            self._open(Silent())  # it may be back
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


def complete(run: Run, config: RunConfig, screen: Screen) -> None:
    """Send what the store lacks of a finished fit: it was out of reach, or a kill came before the last files were sent.

    Nothing is done for a fit that is not tracked, or that another store has.

    >>> from pathlib import Path
    >>> from types import SimpleNamespace
    >>> complete(Run(Path("runs/a")), SimpleNamespace(tracking="none"), Silent())
    """
    tracking = read_tracking(run)
    elsewhere = tracking is not None and tracking.uri != store_uri()
    record = read_record(run)
    if config.tracking != "mlflow" or record is None or elsewhere or (tracking is not None and tracking.complete):
        return
    with Tracker(run, config, record, screen):
        pass
