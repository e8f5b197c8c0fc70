"""Who may follow a fit: progress bars, trackers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Listener(Protocol):
    """Hears of a fit as it goes on; called on the first process alone.

    After a resume the rows since the checkpoint come again, so a listener that keeps them keys them by step.
    """

    def stage(self, name: str, steps: int) -> None:
        """A stage begins or is resumed; `steps` is its planned number of steps."""
        ...

    def row(self, row: Mapping[str, Any]) -> None:
        """A row of the loss file, which is already on disk."""
        ...

    def checkpoint(self, step: int) -> None:
        """The state after `step` steps (over all stages) is safe on disk."""
        ...
