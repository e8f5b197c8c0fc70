"""Figures of merit with error and noise floor, from two disjoint halves of the reference.

The floor is the figure between the halves A and B of the reference. The figure itself compares equally large parts C
and D of the generated sample with each half, and is averaged. As all sizes are equal, the finite-sample bias of a
distance is the same in figure and floor, and cancels in their difference.

A sample is given as sums over groups of its members, of anything additive (counts, sums, products). So parts that
were summed elsewhere can be joined, and leaving out one group costs one evaluation of the figure.
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
"""Called as figure(generated, reference) with the sums of two samples."""

GROUPS = 20
"""Groups per half; each must hold at least one sample."""


@dataclass(frozen=True)
class Halves:
    """Disjoint random parts of equal size.

    Attributes:
        reference: indices of A and B, each shape (n,).
        generated: indices of C and D; only C where the generated sample is too small for two.
    """

    reference: tuple[Index, Index]
    generated: tuple[Index, ...]

    @property
    def n(self) -> int:
        """Samples in each part."""
        return len(self.reference[0])

    @property
    def matches(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(generated part, half) for each half: the pairs for figures too costly to evaluate on all pairs."""
        return (0, 0), (len(self.generated) - 1, 1)


def halves(n_reference: int, n_generated: int, rng: np.random.Generator, cap: int | None = None) -> Halves:
    """Draw the parts, at most `cap` samples each.

    Raises:
        SampleError: a part would have fewer than 20 members.

    >>> parts = halves(100, 60, np.random.default_rng(0))
    >>> parts.n, len(parts.generated)
    (50, 1)
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
    """Apply `summed` (indices to an array of sums) to each group of a part: shape (groups, ...).

    >>> x = np.arange(100.0)
    >>> sums = group_sums(lambda index: np.array([len(index), x[index].sum()]), np.arange(100))
    >>> sums.shape, sums.sum(0).tolist()
    ((20, 2), [100.0, 4950.0])
    """
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
    samples, z' M z with z ~ N(mu, S). Its variance is 4 mu'MSM mu + 2 tr(MSMS), and the jackknife counts the second
    term twice. That term alone is the variance when both samples have the same distribution; it is measured by
    exchanging groups between the halves of the reference, and subtracted once.

    Args:
        figure: of (sums of a generated part, sums of a half).
        reference: group sums of A and B, shape (2, groups, ...).
        generated: group sums of C (and D), shape (1 or 2, groups, ...).
        distance: the figure vanishes to second order where the distributions are equal; else it is smooth there.
        rng: draws the exchanges.
        permutations: number of exchanges.

    >>> rng = np.random.default_rng(0)
    >>> sums = rng.normal(size=(2, 20, 1)) / 20  # 20 groups of each half; here the generated are the reference
    >>> result = contrast(lambda g, r: float(g[0] - r[0]), sums, sums, distance=False, rng=rng)
    >>> result.value, result.stderr > 0
    (0.0, True)
    """
    whole_r, whole_g = reference.sum(1), generated.sum(1)
    parts = len(generated)
    pairs = np.array([[figure(g, r) for r in whole_r] for g in whole_g])
    floor = figure(whole_r[0], whole_r[1])

    variance = 0.0
    for i in range(parts):  # groups of the generated sample left out
        left = [np.mean([figure(whole_g[i] - group, r) for r in whole_r]) / parts for group in generated[i]]
        variance += jackknife_variance(left)
    for j in range(2):  # groups of the reference left out
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
