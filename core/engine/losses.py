"""The loss file: one JSON object per line. But for the pace, a resumed fit writes the rows of an uninterrupted one."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import TrainingError
from .pace import KEYS

FILE = "losses.jsonl"


class LossFile:
    """Writes the rows of a fit, on the first process. A row is in the file before any listener gets it.

    Args:
        file: where.
        kept: what to keep of what is there, the rows up to the checkpoint that is resumed: `position` at that time.
            Nothing is kept if it is not given.

    Raises:
        TrainingError: the file is shorter than that, or has other rows.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     losses = LossFile(Path(folder) / FILE)
    ...     losses.write({"stage": "fit", "step": 10, "loss": 0.5, "samples_per_second": 1234.5})
    ...     losses.close()
    ...     read_rows(Path(folder) / FILE, pace=False)
    [{'stage': 'fit', 'step': 10, 'loss': 0.5}]
    """

    def __init__(self, file: Path, kept: Mapping[str, Any] | None = None) -> None:
        length = kept["bytes"] if kept else 0
        self.file, self.length, self._sum = file, length, hashlib.sha256()
        rows = file.read_bytes() if kept and file.exists() else b""
        if len(rows) < length:
            raise TrainingError(
                f"{file}: expected at least the {length} bytes it had at the checkpoint, found {len(rows)}; "
                "put the file back, or fit anew in another folder."
            )
        self._sum.update(rows[:length])
        if kept and self._sum.hexdigest() != kept["sha256"]:
            raise TrainingError(
                f"{file}: its rows up to the checkpoint are not those that were written there (SHA-256); "
                "put the file back, or fit anew in another folder."
            )
        self._stream = file.open("ab")
        self._stream.truncate(length)

    @property
    def position(self) -> dict[str, Any]:
        """Length and SHA-256 of the rows so far, as plain JSON."""
        return {"bytes": self.length, "sha256": self._sum.hexdigest()}

    def write(self, row: Mapping[str, Any]) -> None:
        """Append a row and flush it; raises `TrainingError` if it cannot be written."""
        line = json.dumps(row).encode() + b"\n"
        try:
            self._stream.write(line)
            self._stream.flush()
        except OSError as error:
            raise TrainingError(f"{self.file}: a row could not be written ({error}); free some space.") from error
        self.length += len(line)
        self._sum.update(line)

    def sync(self) -> None:
        """Flush all rows to the disk (fsync), so that no checkpoint counts more rows than the file holds."""
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        self._stream.close()


def read_rows(file: Path, *, pace: bool = True) -> list[dict[str, Any]]:
    """Rows of a loss file.

    Args:
        file: where.
        pace: keep the keys of `pace.KEYS`; without them two equal fits have equal rows.
    """
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return rows if pace else [{key: value for key, value in row.items() if key not in KEYS} for row in rows]
