"""A budget of minutes, divided over the stages."""

from __future__ import annotations

import time
from collections.abc import Sequence


class Clock:
    """Counts the seconds of a fit over all its resumes and notices when those of a stage are used up.

    A stage gets a fraction of the remaining budget, in proportion to its steps among those still planned. So an earlier
    stage never takes the time of a later one.

    Args:
        minutes: the budget, or None for as long as it takes.
        spent: seconds used before this process started.
    """

    def __init__(self, minutes: float | None, spent: float = 0.0) -> None:
        self.minutes = minutes
        self.deadline: float | None = None
        self._start = time.monotonic() - spent

    @property
    def spent(self) -> float:
        return time.monotonic() - self._start

    def begin(self, steps: Sequence[int]) -> float | None:
        """Set the deadline of the first of the stages that are still to come, given their planned steps.

        Returns:
            Seconds that the stage has, or None without a budget.
        """
        if self.minutes is None:
            return None
        spent = self.spent
        seconds = max(0.0, 60 * self.minutes - spent) * steps[0] / sum(steps)
        self.deadline = spent + seconds
        return seconds

    @property
    def over(self) -> bool:
        return self.deadline is not None and self.spent >= self.deadline
