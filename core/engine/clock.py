"""The time budget of a fit, divided over its stages."""

from __future__ import annotations

import time
from collections.abc import Sequence


class Clock:
    """Counts the seconds of a fit over all its resumes, and says when a stage has used up its part of the budget.

    A stage gets the fraction of the remaining budget that its steps are of all steps still planned. So an earlier stage
    never takes the time of a later one.

    Args:
        minutes: the budget, or None for as long as it takes.
        spent: seconds used before this process started.

    >>> clock = Clock(minutes=2, spent=20)  # 100 seconds are left
    >>> round(clock.begin([300, 100])), clock.over  # for a stage of 300 steps before one of 100
    (75, False)
    """

    def __init__(self, minutes: float | None, spent: float = 0.0) -> None:
        self.minutes = minutes
        self.deadline: float | None = None
        self._start = time.monotonic() - spent

    @property
    def spent(self) -> float:
        """Seconds used so far."""
        return time.monotonic() - self._start

    def begin(self, steps: Sequence[int]) -> float | None:
        """Begin a stage: set its deadline.

        Args:
            steps: steps left in this stage, then those of the stages after it.

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
        """Whether the deadline of the current stage has passed."""
        return self.deadline is not None and self.spent >= self.deadline
