"""Standard errors by resampling with replacement."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def bootstrap_stderr(
    statistic: Callable[..., float], *samples: NDArray, rng: np.random.Generator, resamples: int = 100
) -> float:
    """Standard error of `statistic(*samples)`; each sample is resampled independently along its first axis.

    Args:
        statistic: a function of as many arrays as there are samples.
        samples: arrays of shape (n, ...).
        rng: draws the members of resamples.
        resamples: how often all samples are drawn anew.

    Source: Efron, Ann. Statist. 7 (1979) 1.

    >>> rng = np.random.default_rng(0)
    >>> round(bootstrap_stderr(np.mean, rng.normal(size=400), rng=rng), 2)  # 1 / sqrt(400)
    0.05
    """
    values = [
        statistic(*(sample[rng.integers(len(sample), size=len(sample))] for sample in samples))
        for _ in range(resamples)
    ]
    return float(np.std(values, ddof=1))
