"""Frechet and kernel physics distances on the high-level features."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ....core.statistics.comparison import GROUPS, Contrast, contrast, group_sums
from ....core.statistics.estimate import Estimate
from ....core.statistics.frechet import frechet_distance, frechet_infinity, moment_sums, moments
from ....core.statistics.mmd import GroupedKernel
from .comparison import Comparison, Estimates, Values
from .effort import EffortConfig
from .features import physics_vector

PAPER_SAMPLES = (20_000, 50_000)
"""Sample sizes between which the FPD of arXiv:2211.10295 is extrapolated."""
KERNEL_BATCH = 5_000
NOT_COMPARABLE = (
    " Not comparable with published values: those extrapolate from 20,000 to 50,000 showers a side, more than here."
)
NEGLIGIBLE, RARE = 1e-6, 0.01
"""A feature enters FPD and KPD if it exceeds the first (in its unit) in more than the second part of the reference:
scaled by its largest value, one that is almost never there would outweigh all others."""


def physics_distances(
    c: Comparison, effort: EffortConfig, progress: Callable[[int, int], None] = lambda done, total: None
) -> Estimates:
    """Frechet and kernel physics distances on the high-level features, scaled by the reference's largest values."""
    angular = c.extractor.angular
    reference = physics_vector(c.reference, angular).astype(np.float64)
    generated = physics_vector(c.generated, angular).astype(np.float64)
    kept = (np.abs(reference) > NEGLIGIBLE).mean(0) > RARE
    scale = np.abs(reference[:, kept]).max(0)
    r = [reference[rows][:, kept] / scale for rows in c.halves.reference]
    g = [generated[rows][:, kept] / scale for rows in c.halves.generated]
    return {"fpd": _frechet(c, effort, r, g, progress), "kpd": _kernel(c, effort, r, g)}


def _frechet(
    c: Comparison, effort: EffortConfig, r: list[Values], g: list[Values], progress: Callable[[int, int], None]
) -> Estimate:
    n = c.halves.n
    comparable = n >= PAPER_SAMPLES[0]
    sizes = PAPER_SAMPLES if comparable else (max(2, int(0.4 * n)), n)
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
        "Frechet distance (x 1000) of the Gaussian moments of layer energies over E_incident, centroids, widths and "
        f"occupancies, extrapolated in 1/N from {sizes[0]:,}-{sizes[1]:,} showers as in JetNet (arXiv:2211.10295)."
    )
    return c.estimate(result, definition + ("" if comparable else NOT_COMPARABLE), scale=1000)


def _kernel(c: Comparison, effort: EffortConfig, r: list[Values], g: list[Values]) -> Estimate:
    n = c.halves.n
    size = min(n, KERNEL_BATCH)
    batches = max(1, min(effort.kernel_batches, n // size))
    results = []
    for batch in range(batches):
        groups = [np.array_split(x[batch * size : (batch + 1) * size], GROUPS) for x in (*r, *g)]
        kernel = GroupedKernel([group for part in groups for group in part])
        units = kernel.units.reshape(len(groups), GROUPS, -1)
        rng = c.rng(f"kpd/{batch}")
        results.append(contrast(kernel.mmd2, units[:2], units[2:], distance=True, rng=rng))

    def median(name: str) -> float:
        return float(np.median([getattr(result, name) for result in results]))

    shrink = math.sqrt((math.pi / 2 if batches > 2 else 1) / batches)  # the median's efficiency is 2 / pi
    result = Contrast(median("value"), shrink * median("stderr"), median("floor"), shrink * median("floor_stderr"))
    definition = (
        "Squared maximum mean discrepancy (x 1000, unbiased, so it may be negative) with the kernel (x.y/F + 1)^4 on "
        f"the features of the FPD, median of {batches} batches of {size:,} showers (arXiv:2211.10295)."
    )
    return c.estimate(result, definition + ("" if n >= PAPER_SAMPLES[0] else NOT_COMPARABLE), scale=1000)
