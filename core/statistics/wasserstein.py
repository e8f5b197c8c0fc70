"""The 1-Wasserstein distance in one dimension, without binning."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def wasserstein_distance(x: ArrayLike, y: ArrayLike) -> float:
    """Integral of |F_x^-1(u) - F_y^-1(u)| over 0 < u < 1 of the empirical distributions of x (n,), y (m,).

    Source: Vallender, Theory Probab. Appl. 18 (1974) 784.

    >>> wasserstein_distance([0.0, 1.0], [2.0, 3.0]), wasserstein_distance([0.0], [1.0, 2.0])
    (2.0, 1.5)
    """
    x, y = np.sort(np.asarray(x, dtype=np.float64)), np.sort(np.asarray(y, dtype=np.float64))
    if len(x) == len(y):
        return float(np.abs(x - y).mean())
    levels = np.union1d(np.arange(1, len(x)) / len(x), np.arange(1, len(y)) / len(y))
    steps = np.diff(np.concatenate([[0.0], levels, [1.0]]))
    middle = np.concatenate([[0.0], levels]) + steps / 2
    at = [sample[np.minimum((middle * len(sample)).astype(int), len(sample) - 1)] for sample in (x, y)]
    return float((np.abs(at[0] - at[1]) * steps).sum())
