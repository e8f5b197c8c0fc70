"""The lease of a run's folder: one fit at a time works there, on whatever machine of a cluster it runs.

A file names the owner, and its time of change is the owner's last sign of life. `flock` alone would not do, because not
every network file system keeps it. Times are those of the file system, so the clocks of machines may differ.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any, ClassVar

from pydantic import Field

from ...core.errors import ArtifactError, ConfigError, TrainingError
from ..files import Record
from .folder import LEASE as FILE
from .provenance import now

SECONDS_BETWEEN_SIGNS = 20.0
PATIENCE = 180.0
"""Seconds without a sign of life after which an owner is taken for dead."""


class Owner(Record):
    """The content of the file: who works in the folder.

    >>> Owner(host="node7", pid=4211, since="2026-01-01T00:00:00Z", token="a").name
    'process 4211 on node7, since 2026-01-01T00:00:00Z'
    """

    remedy: ClassVar[str] = "remove it if no fit works in this folder"

    host: str = Field(description="name of the machine")
    pid: int = Field(description="number of the process there", ge=1)
    since: str = Field(description="when it began, UTC")
    token: str = Field(description="tells this lease from all others")

    @property
    def name(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"

    @property
    def gone(self) -> bool:
        """Whether it was a process of this machine that does not exist any more."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # somebody else's
            return False
        return False


class Lease:
    """A lease that is held: a listener of the engine, which ends a fit whose lease was lost.

    Args:
        file: of the lease.
        owner: this process.
    """

    def __init__(self, file: Path, owner: Owner) -> None:
        self.file, self.owner = file, owner
        self._ended = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._show_signs, name="lease", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> bool:
        """Whether another process has taken the lease over, because this one gave no sign for a long time."""
        return self._lost.is_set()

    def stage(self, name: str, steps: int) -> None:
        pass

    def row(self, row: Mapping[str, Any]) -> None:
        if self.lost:
            raise TrainingError(
                f"{self.file.parent}: another process has taken this run over, because this one gave no sign of life "
                f"for {PATIENCE:.0f} s; this one ends here."
            )

    def checkpoint(self, step: int) -> None:
        pass

    def _show_signs(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_SIGNS):
            with suppress(OSError):  # a file system that is away for a while
                if not self._is_mine():
                    self._lost.set()
                    return
                os.utime(self.file)

    def _is_mine(self) -> bool:
        try:
            return Owner.read(self.file).token == self.owner.token
        except ArtifactError:
            return False

    def release(self) -> None:
        """Give the lease back."""
        self._ended.set()
        self._thread.join()
        if not self.lost and self._is_mine():
            self.file.unlink(missing_ok=True)


@contextmanager
def lease(folder: Path) -> Iterator[Lease]:
    """Hold the lease of a folder, which is made if it does not exist, and removed if nothing was written there.

    Raises:
        ConfigError: another process holds it.
        OSError: the folder cannot be written.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder, lease(Path(folder)) as held:
    ...     try:
    ...         with lease(Path(folder)):
    ...             pass
    ...     except ConfigError as error:
    ...         print("another fit works here" in str(error), isinstance(held, Lease), held.lost)
    True True False
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        held = Lease(folder / FILE, _acquire(folder / FILE))
        try:
            yield held
        finally:
            held.release()
    finally:
        with suppress(OSError):  # not empty
            for path in made:
                path.rmdir()


def _acquire(file: Path) -> Owner:
    owner = Owner(host=socket.gethostname(), pid=os.getpid(), since=now(), token=token_hex(8))
    candidate = file.with_name(f"{file.name}.{owner.token}")
    try:
        owner.write(candidate)
        while True:
            try:
                _publish(candidate, file)
                return owner
            except FileExistsError:
                _remove_if_dead(file, candidate)
    finally:
        candidate.unlink(missing_ok=True)


def _publish(candidate: Path, file: Path) -> None:
    """Give a whole file its final name; raises `FileExistsError` if there is one, also on network file systems."""
    try:
        os.link(candidate, file)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        with file.open("x", encoding="utf-8") as stream:
            stream.write(candidate.read_text(encoding="utf-8"))


def _remove_if_dead(file: Path, candidate: Path) -> None:
    """Remove a lease whose owner is dead; raises `ConfigError` if it is alive, or may be."""
    try:
        silent = candidate.stat().st_mtime - file.stat().st_mtime
        found = Owner.read(file)
    except (FileNotFoundError, ArtifactError):
        if file.exists():
            raise
        return  # it was given back just now
    if not (found.gone or silent > PATIENCE):
        raise ConfigError(
            f"{file.parent}: another fit works here ({found.name}; last sign of life {max(0.0, silent):.0f} s ago). "
            "Wait until it has ended, stop it, or give another --out."
        )
    aside = file.with_name(f"{candidate.name}.old")
    try:
        os.rename(file, aside)
    except FileNotFoundError:  # another process was faster
        return
    with suppress(ArtifactError):
        if Owner.read(aside).token != found.token:  # that process has begun to work here
            with suppress(FileExistsError):
                _publish(aside, file)
    aside.unlink(missing_ok=True)
