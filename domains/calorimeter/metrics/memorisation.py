"""The fraction of generated showers that look like copies of training showers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ....core.data import Source
from ....core.statistics.comparison import GROUPS, Index
from ....core.statistics.estimate import Estimate, not_measurable
from ....core.statistics.neighbours import nearest_distance
from ...plugin import Unavailable
from .classification import Inputs, Side
from .comparison import Comparison, Estimates
from .effort import EffortConfig
from .features import BLOCK, evenly_spaced, low_level, read

NEAR = 0.01
"""Quantile of the distances of held-out showers below which a shower looks copied."""


def memorisation(
    c: Comparison,
    voxels: Inputs,
    training: Source | Unavailable,
    effort: EffortConfig,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Estimates:
    """Fraction of generated showers that are suspiciously near to a training shower.

    Args:
        c: the comparison; its reference must be held out from the training showers.
        voxels: maps (side, indices) to the features that are compared, (n, V + 1).
        training: the showers the generator was fitted to, read in blocks, or why they are missing.
        effort: sizes.
        progress: called as progress(training showers done, all of them).
    """
    what = f"Fraction of generated showers nearer to a training shower (in voxels / E) than {NEAR:.0%} of held-out ones"
    if isinstance(training, Unavailable):
        return {"memorisation": not_measurable(what, training.reason, better="lower")}
    geometry = c.extractor.geometry
    n = min(c.halves.n, effort.neighbours, max(effort.voxels // (3 * geometry.n_voxels), GROUPS))
    first, second = c.halves.reference
    parts: list[tuple[Side, Index]] = [
        ("reference", first),
        ("reference", second),
        ("generated", c.halves.generated[0]),
    ]
    compared = np.concatenate([voxels(side, rows[:n]) for side, rows in parts])
    pool = evenly_spaced(len(training), effort.training)
    distance = np.full(len(compared), np.inf)
    for start in range(0, len(pool), BLOCK):
        trained_on = low_level(*read(training, pool[start : start + BLOCK], geometry.effective_threshold))
        distance = np.minimum(distance, nearest_distance(compared, trained_on))
        progress(min(start + BLOCK, len(pool)), len(pool))
    floor_side, near_side, generated = np.split(distance, 3)
    near = float(np.quantile(near_side, NEAR))
    if near == 0:
        why = f"{NEAR:.0%} or more of the reference are training showers; give held-out ones as the reference"
        return {"memorisation": not_measurable(what, why, better="lower")}
    value, floor = (float((side < near).mean()) for side in (generated, floor_side))

    def error(fraction: float) -> float:  # of the fraction itself, and of the quantile that is its threshold
        return math.sqrt((max(fraction, 1 / n) + NEAR) / n)

    definition = (
        f"{what} in one half of the reference; floor: the other half. {n:,} showers of each were compared with "
        f"{len(pool):,} of the {len(training):,} training showers."
    )
    return {"memorisation": Estimate(value, error(value), floor, n, "", "lower", definition, error(floor))}
