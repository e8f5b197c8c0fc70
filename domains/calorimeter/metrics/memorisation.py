"""Are generated showers copies of those that the generator has seen?"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ....core.statistics.comparison import GROUPS, Index
from ....core.statistics.estimate import Estimate
from ....core.statistics.neighbours import nearest_distance
from .classification import Side
from .comparison import Comparison, Estimates, Values
from .effort import EffortConfig

NEAR, POOL = 0.01, 5
"""Quantile of the real nearest-neighbour distances below which a shower looks copied; how many times more
showers it may be copied from than are looked at."""


def memorisation(c: Comparison, voxels: Callable[[Side, Index], Values], effort: EffortConfig) -> Estimates:
    """Share of generated showers suspiciously near to a reference shower.

    Args:
        c: the comparison.
        voxels: maps (side, row numbers) to rows to be compared.
        effort: sizes.
    """
    room = effort.voxels // (POOL * c.extractor.geometry.n_voxels)
    n = min(c.halves.n, effort.neighbours, max(room, GROUPS))
    a, b = (voxels("reference", part[: POOL * n]) for part in c.halves.reference)
    g = voxels("generated", c.halves.generated[0][:n])
    near = float(np.quantile(nearest_distance(b[:n], a), NEAR))
    value, floor = (float((nearest_distance(x, y) < near).mean()) for x, y in ((g, a), (a[:n], b)))

    def error(share: float) -> float:  # of the share itself, and of the quantile that is its threshold
        return math.sqrt((max(share, 1 / n) + NEAR) / n)

    definition = (
        f"Fraction of generated showers nearer (voxels / E_incident) to a shower of one half of the reference than "
        f"{NEAR:.0%} of the other half are: more if showers are copies (of the training data, if they are the "
        "reference); the floor exchanges the halves."
    )
    return {"memorisation": Estimate(value, error(value), floor, n, "", "lower", definition, error(floor))}
