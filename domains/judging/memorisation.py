"""The fraction of generated samples that look like copies of training samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from ...core.statistics.comparison import Halves, Index
from ...core.statistics.estimate import Estimate, not_measurable
from ...core.statistics.neighbours import nearest_distance
from ..plugin import Unavailable
from .classification import Inputs, Side

NEAR = 0.01
"""Quantile of the distances of held-out samples below which a sample looks copied."""


def memorisation(
    halves: Halves,
    inputs: Inputs,
    training: Iterable[NDArray[np.float32]] | Unavailable,
    *,
    n: int,
    things: str = "samples",
    space: str = "features",
    searched: Callable[[int], str] = lambda count: f"{count:,}",
) -> Estimate:
    """Fraction of generated samples that are suspiciously near to a training sample.

    A distance is suspicious if it is smaller than that of 1 % of held-out samples, which one half of the reference
    gives. The floor is the same fraction of the other half.

    Args:
        halves: of the reference, which must be held out from the training data, and of the generated sample.
        inputs: maps (side, indices) to the features that are compared, (n, F).
        training: the same features of training samples, in blocks, or why they are missing.
        n: samples of each part that are compared, at most.
        things: what a sample is called in the definition.
        space: what the distance is measured in.
        searched: says how many training samples were searched, given their number.

    >>> from maquette.core.statistics.comparison import halves
    >>> rng = np.random.default_rng(0)
    >>> trained = rng.normal(size=(500, 2))
    >>> x = {"reference": rng.normal(size=(400, 2)), "generated": trained[:200] + 1e-6}  # copies
    >>> found = memorisation(halves(400, 200, rng), lambda side, rows: x[side][rows], trained.reshape(5, 100, 2), n=200)
    >>> found.value, found.floor < 0.05
    (1.0, True)
    """
    what = f"Fraction of generated {things} nearer to a training one (in {space}) than {NEAR:.0%} of held-out ones"
    if isinstance(training, Unavailable):
        return not_measurable(what, training.reason, better="lower")
    n = min(halves.n, n)
    first, second = halves.reference
    parts: list[tuple[Side, Index]] = [
        ("reference", first),
        ("reference", second),
        ("generated", halves.generated[0]),
    ]
    compared = np.concatenate([inputs(side, rows[:n]) for side, rows in parts])
    distance, pool = np.full(len(compared), np.inf), 0
    for block in training:
        distance = np.minimum(distance, nearest_distance(compared, block))
        pool += len(block)
    floor_side, near_side, generated = np.split(distance, 3)
    near = float(np.quantile(near_side, NEAR))
    if near == 0:
        why = f"{NEAR:.0%} or more of the reference are training {things}; give held-out ones as the reference"
        return not_measurable(what, why, better="lower")
    value, floor = (float((side < near).mean()) for side in (generated, floor_side))

    def error(fraction: float) -> float:  # of the fraction itself, and of the quantile that is its threshold
        return math.sqrt((max(fraction, 1 / n) + NEAR) / n)

    definition = (
        f"{what} in one half of the reference; floor: the other half. {n:,} {things} of each were compared with "
        f"{searched(pool)} training {things}."
    )
    return Estimate(value, error(value), floor, n, "", "lower", definition, error(floor))
