"""Standard errors by resampling with replacement."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def bootstrap_stderr(
    statistic: Callable[..., float], *samples: NDArray, rng: np.random.Generator, resamples: int = 100
) -> float:
    """Standard error of `statistic(*samples)`; each sample is resampled independently along its first axis.

    Source: Efron, Ann. Statist. 7 (1979) 1.

    >>> rng = np.random.default_rng(0)
    >>> bootstrap_stderr(np.mean, rng.normal(size=400), rng=rng) < 0.07  # 1 / sqrt(400) is 0.05
    True
    """
    values = [
        statistic(*(sample[rng.integers(len(sample), size=len(sample))] for sample in samples))
        for _ in range(resamples)
    ]
    return float(np.std(values, ddof=1))
