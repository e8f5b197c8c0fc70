"""Standard errors by leaving out one group of samples at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def jackknife_variance(left_out: ArrayLike) -> float:
    """Variance of a statistic from its values with each of k groups left out: (k - 1) times their variance.

    Args:
        left_out: value of the statistic without group 1, 2, .. k; shape (k,).

    Source: Efron & Stein, Ann. Statist. 9 (1981) 586.

    >>> x = np.array([1.0, 2.0, 4.0, 5.0])
    >>> means = (x.sum() - x) / 3  # the mean without each value
    >>> round(jackknife_variance(means), 6), round(float(x.var(ddof=1)) / 4, 6)
    (0.833333, 0.833333)
    """
    values = np.asarray(left_out)
    return float((len(values) - 1) * np.var(values))
