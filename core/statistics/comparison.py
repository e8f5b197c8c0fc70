"""Figures of merit with error and noise floor, from two disjoint halves of the reference.

The floor is the figure between the halves A and B of the reference; the figure itself is that of equally large
parts C and D of the generated sample against each half, averaged: at equal sizes the finite-sample bias of a
distance is the same on both sides, and cancels in their difference.

A sample enters as sums over groups of its members of whatever is additive (counts, sums, products), so parts that
were summed elsewhere can be joined, and every leave-one-group-out figure costs one evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import SampleError
from .jackknife import jackknife_variance

Sums = NDArray[np.float64]
Index = NDArray[np.int64]
Figure = Callable[[Sums, Sums], float]
"""figure(generated, reference) of two samples' sums."""

GROUPS = 20
"""Groups per half; each must hold at least one sample."""


@dataclass(frozen=True)
class Halves:
    """Disjoint random parts of equal size.

    Attributes:
        reference: row numbers of A and B, each shape (n,).
        generated: row numbers of C and D; C alone where the generated sample is too small for two.
    """

    reference: tuple[Index, Index]
    generated: tuple[Index, ...]

    @property
    def n(self) -> int:
        """Samples in each part."""
        return len(self.reference[0])

    @property
    def matches(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(generated part, half) for each half: what is trained or sorted only once per half."""
        return (0, 0), (len(self.generated) - 1, 1)


def halves(n_reference: int, n_generated: int, rng: np.random.Generator, cap: int | None = None) -> Halves:
    """Draw the parts, at most `cap` samples each.

    Raises:
        SampleError: a part would have fewer than 20 members.
    """
    n = min(n_reference // 2, n_generated, cap or n_reference)
    if n < GROUPS:
        raise SampleError(
            f"Expected at least {2 * GROUPS} reference and {GROUPS} generated samples to compare; "
            f"found {n_reference} and {n_generated}. Give more of either."
        )
    a, b = np.split(rng.permutation(n_reference)[: 2 * n], 2)
    parts = 2 if n_generated >= 2 * n else 1
    return Halves((a, b), tuple(np.split(rng.permutation(n_generated)[: parts * n], parts)))


def group_sums(summed: Callable[[Index], Sums], part: Index) -> Sums:
    """Apply `summed` (row numbers to an array of sums) to each group of a part: shape (groups, ...)."""
    return np.stack([summed(group) for group in np.array_split(part, GROUPS)])


@dataclass(frozen=True)
class Contrast:
    """A figure and its floor, each with its standard error."""

    value: float
    stderr: float
    floor: float
    floor_stderr: float


def contrast(
    figure: Figure,
    reference: Sums,
    generated: Sums,
    *,
    distance: bool,
    rng: np.random.Generator,
    permutations: int = 50,
) -> Contrast:
    """Evaluate a figure against both halves, its floor between them, and the errors of both.

    Errors are delete-one-group jackknife (Efron & Stein 1981). A *distance* is quadratic in the deviation of two
    samples, z' M z with z ~ N(mu, S): its variance is 4 mu'MSM mu + 2 tr(MSMS), of which the jackknife sees twice
    the second term. That term alone is the variance when the samples have one law, and is measured by exchanging
    groups between the halves of the reference; so it is subtracted once.

    Args:
        figure: of (sums of a generated part, sums of a half).
        reference: group sums of A and B, shape (2, groups, ...).
        generated: group sums of C (and D), shape (1 or 2, groups, ...).
        distance: the figure vanishes to second order where the samples have one law; else it is smooth there.
        rng: draws the exchanges.
        permutations: number of exchanges.
    """
    whole_r, whole_g = reference.sum(1), generated.sum(1)
    parts = len(generated)
    pairs = np.array([[figure(g, r) for r in whole_r] for g in whole_g])
    floor = figure(whole_r[0], whole_r[1])

    variance = 0.0
    for i in range(parts):  # leave out of the generated
        left = [np.mean([figure(whole_g[i] - group, r) for r in whole_r]) / parts for group in generated[i]]
        variance += jackknife_variance(left)
    for j in range(2):  # leave out of the reference
        left = [np.mean([figure(g, whole_r[j] - group) for g in whole_g]) / 2 for group in reference[j]]
        variance += jackknife_variance(left)
    floor_variance = jackknife_variance([figure(whole_r[0] - group, whole_r[1]) for group in reference[0]])
    floor_variance += jackknife_variance([figure(whole_r[0], whole_r[1] - group) for group in reference[1]])

    if distance:
        null = _exchanged(figure, reference, rng, permutations)
        # Pairs that share a sample are correlated with 1/4, so 2 x 1 pairs average to 5/8 and 2 x 2 to 3/8.
        average = (0.625 if parts == 1 else 0.375) * null
        variance, floor_variance = max(variance - average, average), null
    return Contrast(float(pairs.mean()), float(np.sqrt(variance)), float(floor), float(np.sqrt(floor_variance)))


def _exchanged(figure: Figure, reference: Sums, rng: np.random.Generator, permutations: int) -> float:
    pool = reference.reshape(-1, *reference.shape[2:])
    whole = pool.sum(0)
    values = []
    for _ in range(permutations):
        one = pool[rng.permutation(len(pool))[: len(pool) // 2]].sum(0)
        values.append(figure(one, whole - one))
    return float(np.var(values, ddof=1))
