"""Figures of merit with error and noise floor, from two disjoint halves of the reference.

The floor is the figure between the halves A and B of the reference. The figure itself is the mean over comparisons of
parts C and D of the generated sample with each half. All parts are equally large. So the finite-sample bias of a
distance is the same in figure and floor, and cancels in their difference.

A part is given as sums of anything additive (counts, values, products) over groups of its samples. Sums from several
processes can be added, and leaving out one group costs one evaluation of the figure.
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
"""figure(sums of a generated part, sums of a reference part) -> value"""

GROUPS = 20
"""Groups per part; each must hold at least one sample."""


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
        """(generated part, half) for each half: for figures that cost too much to evaluate on all pairs."""
        return (0, 0), (len(self.generated) - 1, 1)


def halves(n_reference: int, n_generated: int, rng: np.random.Generator, cap: int | None = None) -> Halves:
    """Draw the parts, at most `cap` samples each.

    Raises:
        SampleError: a part would have fewer than 20 samples.

    >>> parts = halves(100, 60, np.random.default_rng(0))
    >>> isinstance(parts, Halves), parts.n, len(parts.generated)
    (True, 50, 1)
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
    """A figure and its floor, each with its standard error; returned by `contrast`."""

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

    Errors are those of the delete-one-group jackknife (Efron & Stein, Ann. Statist. 9 (1981) 586). A *distance* is
    quadratic in the deviation of two samples, z' M z with z ~ N(mu, S). Its variance is 4 mu'MSM mu + 2 tr(MSMS), and
    the jackknife counts the second term twice. This term is the variance between samples of equal distribution, so it
    is measured by exchanging groups between the halves of the reference, and subtracted once.

    Args:
        figure: of (sums of a generated part, sums of a half).
        reference: group sums of A and B, shape (2, groups, ...).
        generated: group sums of C (and D), shape (1 or 2, groups, ...).
        distance: whether the figure is a distance: of second order in the difference where distributions are equal.
            Otherwise it is of first order there.
        rng: draws the exchanges.
        permutations: number of exchanges.

    >>> rng = np.random.default_rng(0)
    >>> reference, generated = rng.normal(size=4000), rng.normal(0.5, 1, size=4000)
    >>> parts = halves(4000, 4000, rng)
    >>> r = [group_sums(lambda i: np.array([len(i), reference[i].sum()]), part) for part in parts.reference]
    >>> g = [group_sums(lambda i: np.array([len(i), generated[i].sum()]), part) for part in parts.generated]
    >>> shift = lambda g, r: g[1] / g[0] - r[1] / r[0]  # difference of the means
    >>> found = contrast(shift, np.stack(r), np.stack(g), distance=False, rng=rng)
    >>> isinstance(found, Contrast), round(found.value, 1), round(found.stderr, 2)
    (True, 0.5, 0.02)
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
        # Pairs that share a part have correlation 1/4: the mean over 2 x 1 pairs has 5/8 of the variance, 2 x 2 3/8.
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
