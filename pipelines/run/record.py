"""`run.json`: where a run comes from and how far it is; written at every checkpoint, so a kill leaves it valid."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field

from ...core.errors import ConfigError, Interrupted
from ..files import Record, write_text
from .config import RunConfig
from .folder import Run
from .provenance import Provenance, gather, now


class DataRecord(Record):
    """The data that a run was fitted to, or some of them."""

    name: str = Field(default="", description="by which players read it, if there are several")
    file: str = Field(description="the data file, as it was named")
    sha256: str = Field(description="SHA-256 of the file's content")
    sha256_of: str = Field(default="content of all rows", description="what the SHA-256 is taken of")
    rows: int = Field(description="rows of the file")
    training_rows: int = Field(description="rows that were trained on")


class LatencyRecord(Record):
    """How long a sample takes."""

    single_ms: float = Field(description="milliseconds of a sample that is drawn by itself, median")
    batched_ms: float = Field(description="milliseconds per sample of a batch, median")
    batch_size: int = Field(description="samples of that batch")
    device: str = Field(description="where it was measured")
    threads: int = Field(description="threads of PyTorch")
    reference: str | None = Field(default=None, description="the program that the model replaces")
    reference_ms: float | None = Field(default=None, description="milliseconds of one of its samples on a CPU core")


class Session(Provenance):
    """One command that worked on a run: a fit, or its continuation."""

    device: str = Field(description="PyTorch's name of the device")
    world_size: int = Field(description="number of processes")


class RunRecord(Session):
    """The content of `run.json`. Inherited fields describe the first session; `resumed` lists the later ones."""

    remedy: ClassVar[str] = "fit again in another folder"

    schema_version: Literal[2] = Field(default=2, alias="schema", description="version of this layout")
    domain: str = Field(description="name of the domain")
    config_hash: str = Field(description="SHA-256 of the config keys that decide the outcome")
    seed: int = Field(description="seed of the weights, the data order and all noise")
    data: DataRecord
    other_data: list[DataRecord] = Field(default_factory=list, description="further data, after the leading ones")
    parameters: int = Field(description="number of weights of the generator")
    sessions: int = Field(description="how many commands have worked on the run")
    tags: dict[str, str] = Field(default_factory=dict, description="what the user calls the run by, all sessions")
    resumed: list[Session] = Field(default_factory=list, description="the sessions after the first")
    wall_seconds: float = Field(default=0.0, description="duration of all sessions together")
    status: Literal["running", "interrupted", "failed", "finished"] = Field(
        default="running", description="running also after a kill, which leaves no time to write"
    )
    finished: str | None = Field(default=None, description="when the fit ended, UTC")
    latency: LatencyRecord | None = Field(default=None, description="measured when the fit had ended")

    @property
    def sources(self) -> list[DataRecord]:
        """All data, the leading ones first."""
        return [self.data, *self.other_data]


def read_record(run: Run) -> RunRecord | None:
    """What is recorded of a run; None if nothing is yet.

    Raises:
        ArtifactError: a damaged record, or one of another version.
    """
    return RunRecord.read(run.record) if run.record.is_file() else None


def expect_same_data(run: Run, digests: Mapping[str, str]) -> None:
    """Raise `ConfigError` if the run began with data of other digests or names, or in another order.

    Args:
        run: it may have no record yet.
        digests: SHA-256 by name, the leading data first; the name of a single file is "".
    """
    before = read_record(run)
    if before is None:
        return
    began = {one.name: one.sha256 for one in before.sources}
    if list(began) != list(digests):
        names = [" and ".join(each) if any(each) else "one file without a name" for each in (began, digests)]
        raise ConfigError(
            f"{run.folder}: the run began with other data ({names[0]}, now {names[1]}); give the same files in the "
            "same order, or another --out."
        )
    for name, sha256 in began.items():
        if sha256 != digests[name]:
            which = f"{name}: " if name else ""
            raise ConfigError(
                f"{run.folder}: the run began with other data ({which}SHA-256 {sha256[:12]}, now "
                f"{digests[name][:12]}); give the same file, or another --out."
            )


_TAG = re.compile(r"\w[\w.:/ -]{0,249}")
_LONGEST_VALUE = 5000
_RESERVED = ("maquette.", "mlflow.", "package.")


def check_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags of a run, for its record and for MLflow.

    Raises:
        ConfigError: a name that MLflow does not take or that it or Maquette uses itself; a value that is no text, or a
            long one.

    >>> check_tags({"study": "widths", "trial": "7"})
    {'study': 'widths', 'trial': '7'}
    """
    for name, value in tags.items():
        if not isinstance(name, str) or not _TAG.fullmatch(name) or name.startswith(_RESERVED):
            raise ConfigError(
                f"tags: {name!r} is no name; one begins with a letter, digit or _, goes on with those or any of "
                f". : / - and blanks, has at most 250 characters and does not begin with {', '.join(_RESERVED)}."
            )
        if not isinstance(value, str) or len(value) > _LONGEST_VALUE:
            raise ConfigError(
                f"tags: {name}: expected a text of at most {_LONGEST_VALUE} characters, found {value!r:.60}."
            )
    return dict(tags)


class RunRecorder:
    """Keeps `run.json` up to date: a listener of the engine.

    Args:
        run: the run's folder.
        config: its resolved config.
        data: what it is fitted to, the leading data of several.
        other_data: the others.
        parameters: number of weights.
        world_size: number of processes.
        device: where it runs.
        tags: what the user calls the run by; those of earlier sessions are kept.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from maquette.domains import domains
    >>> from maquette.pipelines.run.config import resolve
    >>> config = resolve(domains.get("calorimeter"), "smoke")
    >>> data = DataRecord(file="showers.h5", sha256="ab12", rows=100, training_rows=80)
    >>> with TemporaryDirectory() as folder:
    ...     run = Run(Path(folder))
    ...     RunRecorder(run, config, data, parameters=10, world_size=1, device=torch.device("cpu")).begin()
    ...     record = read_record(run)
    ...     expect_same_data(run, {"": "ab12"})
    >>> isinstance(record, RunRecord), isinstance(record, Session)  # the first session, and the later ones in a list
    (True, True)
    >>> record.status, record.data.training_rows, record.sessions, record.resumed
    ('running', 80, 1, [])
    """

    def __init__(
        self,
        run: Run,
        config: RunConfig,
        data: DataRecord,
        *,
        other_data: Sequence[DataRecord] = (),
        parameters: int,
        world_size: int,
        device: torch.device,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.run, self.config = run, config
        before = read_record(run)
        session = Session(device=str(device), world_size=world_size, **dict(gather(device)))
        first = Session(**{name: getattr(before, name) for name in Session.model_fields}) if before else session
        self.seconds_before = before.wall_seconds if before else 0.0
        self.clock, self.ended = time.monotonic(), False
        self.record = RunRecord(
            **dict(first),
            domain=config.domain,
            config_hash=config.digest(),
            seed=config.seed,
            data=data,
            other_data=list(other_data),
            parameters=parameters,
            sessions=before.sessions + 1 if before else 1,
            tags={**(before.tags if before else {}), **(tags or {})},
            resumed=[*before.resumed, session] if before else [],
        )

    def begin(self) -> None:
        write_text(self.run.config, self.config.to_yaml())
        self._write(status="running")

    def end(self, latency: LatencyRecord) -> None:
        """Write the record of a finished run."""
        self._write(status="finished", finished=now(), latency=latency)
        self.ended = True

    def left(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write how the fit ended if an exception ended it: the `__exit__` of a context."""
        if kind is not None and not self.ended:
            with suppress(OSError):  # a full disk, which is the error that the user is told
                self._write(status="interrupted" if issubclass(kind, Interrupted | KeyboardInterrupt) else "failed")

    def row(self, row: Mapping[str, Any]) -> None:
        pass

    def stage(self, name: str, steps: int) -> None:
        pass

    def checkpoint(self, step: int) -> None:
        self._write(status="running")

    def _write(self, **update: Any) -> None:
        seconds = round(self.seconds_before + time.monotonic() - self.clock, 3)
        self.record.model_copy(update={"wall_seconds": seconds, **update}).write(self.run.record)
