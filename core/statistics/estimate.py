"""A figure of merit with its error, noise floor, sample size and definition."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Estimate:
    """One figure of merit.

    Attributes:
        value: the figure; NaN if it cannot be measured (the definition then gives the reason).
        stderr: its standard error (bootstrap or jackknife).
        floor: the same figure between two disjoint halves of the reference; NaN if it has none.
        n: samples behind it.
        unit: unit of value, stderr and floor; empty if dimensionless.
        better: which values are better: "lower", "higher", or near the "floor".
        definition: one sentence.
        floor_stderr: standard error of the floor.
        remark: a word or two to print with the value.

    >>> auc = Estimate(0.56, 0.01, 0.50, 4000, "", "lower", "ROC AUC.", floor_stderr=0.01)
    >>> round(auc.significance(), 1)
    4.2
    """

    value: float
    stderr: float
    floor: float
    n: int
    unit: str
    better: Literal["lower", "higher", "floor"]
    definition: str
    floor_stderr: float = math.nan
    remark: str = ""

    def significance(self) -> float:
        """By how many standard errors the figure is worse than its floor.

        NaN if it has no floor; infinite if only its floor could be measured.
        """
        if math.isnan(self.value) and not math.isnan(self.floor):
            return math.inf
        error = math.hypot(self.stderr, 0.0 if math.isnan(self.floor_stderr) else self.floor_stderr)
        away = self.floor - self.value if self.better == "higher" else self.value - self.floor
        if self.better == "floor":
            away = abs(away)
        return away / error if error > 0 else (math.nan if math.isnan(away) or away == 0 else math.inf * away)

    def to_json(self) -> dict[str, Any]:
        """Plain data; NaN and infinity become None, because JSON has neither."""
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(self).items()
        }
