"""The verdict on generated samples: which figures are significantly beyond what they are held against."""

from __future__ import annotations

import math
from collections.abc import Mapping

from .estimate import Estimate

SIGNIFICANT = 3.0
"""A figure further beyond its floor, nominal value or baseline than so many standard errors counts as different."""
NAMED = 5
"""Figures that a verdict names at most; the table has all."""


def verdict(estimates: Mapping[str, Estimate], n: int) -> str:
    """One sentence on figures with floors or nominal values, then one clause on each baseline.

    >>> auc = Estimate(0.8, 0.01, 0.5, 100, "", "lower", "ROC AUC.")
    >>> verdict({"auc": auc}, 100)
    'distinguishable by auc (30.0 sigma) at n = 100'
    >>> psnr = Estimate(31.2, 0.1, 30.1, 50, "dB", "higher", "PSNR.", 0.1, against="baseline", baseline="wavelets")
    >>> verdict({"psnr": psnr}, 50)
    'better than wavelets by psnr (7.8 sigma) at n = 50'
    """
    judged = {name: e for name, e in estimates.items() if e.against in ("halves", "nominal")}
    baselines = dict.fromkeys(e.yardstick for e in estimates.values() if e.against == "baseline")
    clauses = [_distinguishable(judged)] if judged or not baselines else []
    clauses += [
        _compared(baseline, {name: e for name, e in estimates.items() if e.yardstick == baseline})
        for baseline in baselines
    ]
    return "; ".join(clause.format(n=f"at n = {n:,}") for clause in clauses)


def _distinguishable(estimates: Mapping[str, Estimate]) -> str:
    beyond = {name: e.significance() for name, e in estimates.items()}
    different = {name: e for name, e in estimates.items() if beyond[name] > SIGNIFICANT}
    if different:
        return f"distinguishable by {_worst_first(different)} {{n}}"
    measured = sum(map(math.isfinite, beyond.values()))
    held = " or ".join(dict.fromkeys(f"{e.yardstick}s" for e in estimates.values())) or "floors"
    return f"indistinguishable {{n}}: all {measured} metrics lie within 3 sigma of their {held}"


def _compared(baseline: str, estimates: Mapping[str, Estimate]) -> str:
    beyond = {name: e.significance() for name, e in estimates.items()}
    better = {name: e for name, e in estimates.items() if beyond[name] < -SIGNIFICANT}
    worse = {name: e for name, e in estimates.items() if beyond[name] > SIGNIFICANT}
    said = [
        f"{word} than {baseline} by {_worst_first(group)}"
        for word, group in (("better", better), ("worse", worse))
        if group
    ]
    return f"{', '.join(said)} {{n}}" if said else f"as good as {baseline} within 3 sigma {{n}}"


def _worst_first(estimates: Mapping[str, Estimate]) -> str:
    """Figures by name with their distances, the farthest first."""
    names = sorted(estimates, key=lambda name: -abs(estimates[name].significance()))
    named = ", ".join(f"{name} ({_how(estimates[name])})" for name in names[:NAMED])
    return named + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _how(estimate: Estimate) -> str:
    """How far a figure lies from what it is held against, in a few words."""
    if math.isnan(estimate.value):
        return "not measurable in the generated sample"
    significance = abs(estimate.significance())
    return f"{significance:.1f} sigma" if math.isfinite(significance) else "without spread"
