"""Frechet and kernel physics distances between features of two samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...core.statistics.comparison import GROUPS, Contrast, contrast, group_sums
from ...core.statistics.estimate import Estimate, not_measurable
from ...core.statistics.frechet import frechet_distance, frechet_infinity, moment_sums, moments
from ...core.statistics.mmd import GroupedKernel
from .comparison import Comparison, Estimates, Values
from .effort import EffortConfig

PAPER_SAMPLES = (20_000, 50_000)
"""Batch sizes between which arXiv:2211.10295 extrapolates the FPD; it draws from at least 50,000 samples."""
KERNEL_BATCH = 5_000
"""Batch size of the KPD, as there."""
NOT_COMPARABLE = (
    f" Not comparable with published values: those draw their batches, of up to {PAPER_SAMPLES[1]:,} in the FPD, from "
    "at least as many {things} a side, here they are drawn from {n:,}."
)
CONSTANT = 1e-6
"""A feature is constant up to rounding if its range in the reference is at most this fraction of its largest value."""
SCALED = "each over its largest value in the reference ({kept} features; those constant there are left out)"


def physics_distances(
    c: Comparison[Any],
    reference: Values,
    generated: Values,
    effort: EffortConfig,
    *,
    described: str,
    things: str = "samples",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Estimates:
    """Frechet and kernel physics distances between features, each divided by its largest value in the reference.

    Args:
        c: says which samples are compared with which.
        reference, generated: features of all samples, (n, F).
        effort: how many sizes and batches.
        described: what the features are, for the definition.
        things: what samples are called in the definition.
        progress: called as progress(trainings done, all of them).

    Source: Kansal et al., Phys. Rev. D 107 (2023) 076017, arXiv:2211.10295.

    >>> from maquette.core.statistics.comparison import halves
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(1, 1, size=(80, 2)), rng.normal(1, 1, size=(80, 2))
    >>> effort = EffortConfig(frechet_points=3, frechet_batches=2, kernel_batches=1)
    >>> estimates = physics_distances(Comparison(*x, halves(80, 80, rng), seed=0), *x, effort, described="numbers")
    >>> [(name, one.significance() < 3, one.remark) for name, one in estimates.items()]
    [('fpd', True, 'not comparable'), ('kpd', True, 'not comparable')]
    """
    reference, generated = reference.astype(np.float64), generated.astype(np.float64)
    largest = np.abs(reference).max(0)
    # a constant feature has no scale by which to divide
    kept = np.ptp(reference, axis=0) > CONSTANT * largest
    if not kept.any():
        why = f"all reference {things} are the same"
        names = {"fpd": "Frechet distance", "kpd": "Squared maximum mean discrepancy"}
        return {key: not_measurable(f"{name} (x 1000)", why, better="lower") for key, name in names.items()}
    r = [reference[rows][:, kept] / largest[kept] for rows in c.halves.reference]
    g = [generated[rows][:, kept] / largest[kept] for rows in c.halves.generated]
    features = f"{described}, {SCALED.format(kept=r[0].shape[1])}"
    return {
        "fpd": _frechet(c, effort, r, g, features, things, progress),
        "kpd": _kernel(c, effort, r, g, things),
    }


def comparable(n: int) -> bool:
    """Whether FPD and KPD of n samples a side are comparable with published values.

    >>> comparable(8_000), sample_sizes(8_000), sample_sizes(60_000)
    (False, (3200, 8000), (20000, 50000))
    """
    return n >= PAPER_SAMPLES[1]


def sample_sizes(n: int) -> tuple[int, int]:
    """Between which batch sizes the FPD of n samples a side is extrapolated."""
    return PAPER_SAMPLES if comparable(n) else (max(2, int(0.4 * n)), n)


def _estimate(c: Comparison[Any], result: Contrast, definition: str, things: str) -> Estimate:
    """The estimate (x 1000), with a remark where it is not comparable with published values."""
    n = c.halves.n
    if comparable(n):
        return c.estimate(result, definition, scale=1000)
    return c.estimate(
        result, definition + NOT_COMPARABLE.format(n=n, things=things), scale=1000, remark="not comparable"
    )


def _frechet(
    c: Comparison[Any],
    effort: EffortConfig,
    r: list[Values],
    g: list[Values],
    features: str,
    things: str,
    progress: Callable[[int, int], None],
) -> Estimate:
    n = c.halves.n
    sizes = sample_sizes(n)
    rng = c.rng("fpd")
    pairs = [*((g[i], r[j]) for i, j in c.halves.matches), (r[0], r[1])]
    points = effort.frechet_points
    fits = [
        frechet_infinity(
            *pair,
            rng,
            samples=sizes,
            points=points,
            batches=effort.frechet_batches,
            progress=lambda done, total, k=k: progress(k * total + done, len(pairs) * total),
        )
        for k, pair in enumerate(pairs)
    ]

    def grouped(parts: list[Values]) -> Values:
        return np.stack([group_sums(lambda rows, x=x: moment_sums(x[rows]), np.arange(n)) for x in parts])

    spread = contrast(
        lambda a, b: frechet_distance(moments(a), moments(b)),
        grouped(r),
        grouped(g),
        distance=True,
        rng=rng,
        permutations=30,
    )
    result = Contrast(
        value=(fits[0][0] + fits[1][0]) / 2,
        stderr=math.hypot(spread.stderr, fits[0][1] / 2, fits[1][1] / 2),
        floor=fits[2][0],
        floor_stderr=math.hypot(spread.floor_stderr, fits[2][1]),
    )
    definition = (
        f"Frechet distance (x 1000) of the Gaussian moments of {features}, extrapolated in 1/N from "
        f"{sizes[0]:,}-{sizes[1]:,} {things} as in JetNet (arXiv:2211.10295)."
    )
    return _estimate(c, result, definition, things)


def _kernel(c: Comparison[Any], effort: EffortConfig, r: list[Values], g: list[Values], things: str) -> Estimate:
    """Median over batches, drawn without replacement: the unbiased estimator needs distinct samples in each.

    Batches overlap, so their spread is not the error. All batches are divided into the same groups of samples, and the
    jackknife leaves a group out of all batches at once: that is the error of their mean. Given the samples, batches
    are independent draws, so the variance of their median due to drawing is pi/2 times that of their mean; the
    difference is added.
    """
    n, rng = c.halves.n, c.rng("kpd")
    size = min(n, KERNEL_BATCH)
    batches = effort.kernel_batches if size < n else 1
    group_of = np.repeat(np.arange(GROUPS), [len(part) for part in np.array_split(np.arange(n), GROUPS)])
    kernels = []
    for _ in range(batches):
        groups = []
        for x in (*r, *g):
            rows = rng.permutation(n)[:size]
            groups += [x[rows[group_of[rows] == group]] for group in range(GROUPS)]
        kernels.append(GroupedKernel(groups))
    units = kernels[0].units.reshape(len(r) + len(g), GROUPS, -1)
    spread = contrast(
        lambda a, b: float(np.mean([kernel.mmd2(a, b) for kernel in kernels])),
        units[:2],
        units[2:],
        distance=True,
        rng=rng,
    )
    one, other, *parts = units.sum(1)

    def drawn(pairs: list[tuple[Values, Values]]) -> tuple[float, float]:
        """Median over batches, averaged over pairs, and what it adds to the variance of the mean."""
        values = np.array([[kernel.mmd2(a, b) for kernel in kernels] for a, b in pairs])
        added = (math.pi / 2 - 1) * values.var(1, ddof=1).mean() / batches if batches > 2 else 0.0
        return float(np.median(values, axis=1).mean()), added

    value, added = drawn([(part, half) for part in parts for half in (one, other)])
    floor, floor_added = drawn([(one, other)])
    result = Contrast(
        value, math.sqrt(spread.stderr**2 + added), floor, math.sqrt(spread.floor_stderr**2 + floor_added)
    )
    how = f"median of {batches} random batches of {size:,} {things}, none twice in a batch"
    if batches == 1:
        how = f"of {f'all {n:,}' if size == n else f'{size:,} random'} {things} as one batch"
    definition = (
        "Squared maximum mean discrepancy (x 1000, unbiased, so it may be negative) with the kernel (x.y/F + 1)^4 on "
        f"the features of the FPD, {how} (arXiv:2211.10295)."
    )
    return _estimate(c, result, definition, things)
