"""A figure of merit with its error, what it is held against, sample size and definition."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

Better = Literal["lower", "higher", "floor"]
"""Which values of a figure are better: lower ones, higher ones, or those near what it is held against."""

Against = Literal["halves", "baseline", "nominal", "nothing"]
"""What a figure is held against.

* "halves": its noise floor, the same figure between two disjoint halves of the reference.
* "baseline": the same figure of another method on the same data, such as a classical reconstruction.
* "nominal": the value that a perfect model has, such as the coverage of a 90 % interval.
* "nothing": it is printed without a judgement.
"""


@dataclass(frozen=True)
class Estimate:
    """One figure of merit.

    Attributes:
        value: the figure; NaN if it cannot be measured (the definition then gives the reason).
        stderr: its standard error (bootstrap or jackknife).
        floor: what it is held against, by default its noise floor; NaN if it has none.
        n: samples behind it.
        unit: unit of value, stderr and floor; empty if dimensionless.
        better: which values are better: "lower", "higher", or near the "floor".
        definition: one sentence.
        floor_stderr: standard error of the floor.
        remark: a word or two to print with the value.
        against: what `floor` is.
        baseline: name of the other method, if it is held against one.
        difference_stderr: standard error of value - floor, where both are measured on the same samples and their errors
            are not independent; NaN if they are.

    >>> auc = Estimate(0.56, 0.01, 0.50, 4000, "", "lower", "ROC AUC.", floor_stderr=0.01)
    >>> round(auc.significance(), 1)
    4.2
    >>> psnr = Estimate(31.2, 0.3, 30.1, 50, "dB", "higher", "PSNR.", 0.3, against="baseline", baseline="wavelets")
    >>> round(psnr.significance(), 1), psnr.yardstick
    (-2.6, 'wavelets')
    """

    value: float
    stderr: float
    floor: float
    n: int
    unit: str
    better: Better
    definition: str
    floor_stderr: float = math.nan
    remark: str = ""
    against: Against = "halves"
    baseline: str = ""
    difference_stderr: float = math.nan

    @property
    def yardstick(self) -> str:
        """What the figure is held against, in a word: "floor", the baseline's name, "nominal value", or nothing."""
        names = {"halves": "floor", "baseline": self.baseline or "baseline", "nominal": "nominal value", "nothing": ""}
        return names[self.against]

    def significance(self) -> float:
        """By how many standard errors the figure is worse than what it is held against; negative if it is better.

        NaN if it is held against nothing; infinite if the figure itself could not be measured.
        """
        if self.against == "nothing":
            return math.nan
        if math.isnan(self.value) and not math.isnan(self.floor):
            return math.inf
        error = self.difference_stderr
        if math.isnan(error):
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


def not_measurable(what: str, why: str, unit: str = "", better: Better = "floor") -> Estimate:
    """A metric that these data cannot determine.

    >>> not_measurable("Depth of the maximum", "fewer than 10 layers").definition
    'Depth of the maximum; not measurable: fewer than 10 layers.'
    """
    nan = math.nan
    return Estimate(nan, nan, nan, 0, unit, better, f"{what}; not measurable: {why}.", nan)
