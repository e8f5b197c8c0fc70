"""Learning rates as pure functions of the step."""

from __future__ import annotations

import math
from collections.abc import Callable

from .plan import OptimizerConfig

Schedule = Callable[[float, float], float]
"""schedule(progress from 0 to 1, value at the end) -> fraction of the peak learning rate."""


def constant(progress: float, final: float) -> float:
    """The peak throughout; `final` is not used.

    >>> [constant(progress, 0.0) for progress in (0.0, 0.5, 1.0)]
    [1.0, 1.0, 1.0]
    """
    return 1.0


def cosine(progress: float, final: float) -> float:
    """Half a cosine from 1 to `final` (Loshchilov & Hutter, arXiv:1608.03983, eq. 5 without restarts).

    >>> [round(cosine(progress, 0.0), 3) for progress in (0.0, 0.5, 1.0)]
    [1.0, 0.5, 0.0]
    """
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))


SCHEDULES: dict[str, Schedule] = {"constant": constant, "cosine": cosine}


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """Return the learning rate of step 0 .. steps - 1: linear warm-up, then the schedule.

    >>> config = OptimizerConfig(lr=1.0, warmup=2, schedule="cosine", final=0.0)
    >>> [round(learning_rate(config, step, 5), 2) for step in range(5)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    progress = min(1.0, (step - config.warmup) / max(1, steps - 1 - config.warmup))
    return config.lr * SCHEDULES[config.schedule](progress, config.final)
