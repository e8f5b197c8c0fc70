"""A figure of merit with everything that makes it honest: error, floor, sample size and definition."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Estimate:
    """One figure of merit.

    Attributes:
        value: the figure; NaN where it cannot be measured (the definition then says why).
        stderr: its standard error (bootstrap or jackknife).
        floor: the same figure between two disjoint halves of the reference; NaN if it has none.
        n: samples behind it.
        unit: unit of value, stderr and floor; empty if dimensionless.
        better: which direction is better: "lower", "higher", or "floor" (nearest to the floor).
        definition: one sentence.
        floor_stderr: standard error of the floor.
        remark: a word or two that belong beside the value wherever it is shown; the definition says more.
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
        """How many standard errors the figure lies beyond its floor.

        NaN if it has no floor. Infinite if only the figure is missing: what the reference shows and the other sample
        cannot even be asked for is the plainest of differences.
        """
        if math.isnan(self.value) and not math.isnan(self.floor):
            return math.inf
        error = math.hypot(self.stderr, 0.0 if math.isnan(self.floor_stderr) else self.floor_stderr)
        away = self.floor - self.value if self.better == "higher" else self.value - self.floor
        if self.better == "floor":
            away = abs(away)
        return away / error if error > 0 else (math.nan if math.isnan(away) or away == 0 else math.inf * away)

    def to_json(self) -> dict[str, Any]:
        """Plain data; NaN becomes None, as JSON has none."""
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(self).items()
        }
