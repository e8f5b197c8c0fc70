"""The interface of what follows a fit: progress bars, trackers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Listener(Protocol):
    """Is called during a fit, on the first process only.

    A resumed fit repeats the rows since its checkpoint. So a listener that stores rows must key them by step.
    """

    def stage(self, name: str, steps: int) -> None:
        """A stage begins or is resumed; `steps` is its planned number of steps."""
        ...

    def row(self, row: Mapping[str, Any]) -> bool | None:
        """A row of the loss file, after it was written to disk.

        Return True to end the fit on all processes: its state is saved, and it raises `Interrupted`.
        """
        ...

    def checkpoint(self, step: int) -> None:
        """The state after `step` steps (over all stages) is safe on disk."""
        ...
