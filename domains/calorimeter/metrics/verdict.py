"""The verdict on generated showers: which metrics are significantly beyond their floors."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ....core.statistics.estimate import Estimate

SIGNIFICANT = 3.0
"""A metric further beyond its floor than so many standard errors counts as different."""
NAMED = 5
"""Metrics that a verdict names at most; the table has all."""


def verdict(estimates: Mapping[str, Estimate], n: int) -> str:
    """One sentence: all metrics within 3 sigma of their floors, or which are not, the farthest first.

    >>> verdict({"auc": Estimate(0.8, 0.01, 0.5, 100, "", "lower", "ROC AUC.")}, 100)
    'distinguishable by auc (30.0 sigma) at n = 100'
    """
    beyond = {name: e.significance() for name, e in estimates.items()}
    different = sorted((name for name, x in beyond.items() if x > SIGNIFICANT), key=lambda name: -beyond[name])
    if not different:
        measured = sum(map(math.isfinite, beyond.values()))
        return f"indistinguishable at n = {n:,}: all {measured} metrics lie within 3 sigma of their floors"
    named = ", ".join(f"{name} ({_how(estimates[name])})" for name in different[:NAMED])
    more = f" and {len(different) - NAMED} more" if len(different) > NAMED else ""
    return f"distinguishable by {named}{more} at n = {n:,}"


def _how(estimate: Estimate) -> str:
    """How a figure lies beyond its floor, in a few words."""
    if math.isnan(estimate.value):
        return "not measurable in the generated sample"
    significance = estimate.significance()
    return f"{significance:.1f} sigma" if math.isfinite(significance) else "without spread"
