"""Figures of samples that belong to rows of a reference, as reconstructions belong to measurements.

Several samples may belong to one row. They are not independent, so errors are taken over rows.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import SampleError
from .estimate import Estimate


def row_means(values: ArrayLike, rows: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The rows that occur (m,), ascending, and the mean value (m,) of the samples of each.

    Args:
        values: a figure of each sample, (n,).
        rows: the row that each sample belongs to, (n,).

    Raises:
        SampleError: no samples, or another number of rows than of values.

    >>> row_means([1.0, 3.0, 5.0], [7, 7, 2])
    (array([2, 7]), array([5., 2.]))
    """
    value, row = np.asarray(values, dtype=np.float64), np.asarray(rows, dtype=np.int64)
    if not len(value) or value.shape != row.shape:
        raise SampleError(f"Expected one row per sample, found {value.shape} values and {row.shape} rows.")
    known, position, count = np.unique(row, return_inverse=True, return_counts=True)
    return known, np.bincount(position, value) / count


def against_baseline(
    values: ArrayLike,
    rows: ArrayLike,
    baseline: ArrayLike,
    baseline_rows: ArrayLike,
    *,
    name: str,
    better: Literal["lower", "higher"],
    definition: str,
    unit: str = "",
) -> Estimate:
    """The mean of a figure over rows, held against that of another method on the same rows.

    Args:
        values: the figure of each sample, (n,).
        rows: the reference row that each sample belongs to, (n,).
        baseline: the figure of each result of the other method, (k,).
        baseline_rows: their rows, (k,); rows that only one side has are left out.
        name: of the other method.
        better: which values are better.
        definition: one sentence.
        unit: of the figure.

    Raises:
        SampleError: fewer than two rows in common.

    A method that gains half a decibel on every image, however much images differ:

    >>> psnr = np.array([25.0, 30.0, 35.0, 40.0])
    >>> found = against_baseline(
    ...     psnr + 0.5 + np.array([0.1, -0.1, 0.1, -0.1]), range(4), psnr, range(4),
    ...     name="wavelets", better="higher", definition="PSNR.", unit="dB",
    ... )
    >>> round(found.value - found.floor, 2), round(found.stderr, 1), round(found.difference_stderr, 2)
    (0.5, 3.2, 0.06)
    >>> found.significance() < -5
    True
    """
    known, value = row_means(values, rows)
    others, other = row_means(baseline, baseline_rows)
    common, mine, theirs = np.intersect1d(known, others, assume_unique=True, return_indices=True)
    m = len(common)
    if m < 2:
        raise SampleError(f"A comparison with {name} needs two rows that both have; found {m}.")
    value, other = value[mine], other[theirs]

    def stderr(x: NDArray[np.float64]) -> float:
        return float(x.std(ddof=1) / math.sqrt(m))

    return Estimate(
        value=float(value.mean()),
        stderr=stderr(value),
        floor=float(other.mean()),
        n=m,
        unit=unit,
        better=better,
        definition=definition,
        floor_stderr=stderr(other),
        against="baseline",
        baseline=name,
        difference_stderr=stderr(value - other),
    )


def coverage(inside: ArrayLike, rows: ArrayLike, *, nominal: float, definition: str) -> Estimate:
    """The fraction of true values inside their predicted intervals, held against its nominal value.

    Args:
        inside: whether each value lies inside its interval, (n,).
        rows: the row that each value belongs to, (n,); values of one row are not independent.
        nominal: the probability that the intervals claim.
        definition: one sentence.

    Raises:
        SampleError: fewer than two rows.

    >>> found = coverage([True] * 9 + [False], range(10), nominal=0.9, definition="Coverage of 90 % intervals.")
    >>> found.value, found.significance(), found.yardstick
    (0.9, 0.0, 'nominal value')
    """
    _, value = row_means(np.asarray(inside, dtype=np.float64), rows)
    m = len(value)
    if m < 2:
        raise SampleError(f"A coverage needs two rows at least; found {m}.")
    # the spread of few rows may vanish by chance: that of the nominal fraction in whole rows is the least it can be
    least = math.sqrt(nominal * (1 - nominal) / np.size(inside))
    stderr = max(float(value.std(ddof=1)) / math.sqrt(m), least)
    mean = float(value.mean())
    return Estimate(mean, stderr, nominal, m, "", "floor", definition, floor_stderr=0.0, against="nominal")
