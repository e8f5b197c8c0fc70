"""The times, or noise levels, between which a sampler takes its steps, as lists of floats."""

from __future__ import annotations

import torch


def linear_schedule(start: float, stop: float, steps: int) -> list[float]:
    """steps + 1 equally spaced times from start to stop.

    >>> linear_schedule(0.0, 1.0, 4)
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    return torch.linspace(start, stop, steps + 1, dtype=torch.float64).tolist()


def karras_schedule(n: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> list[float]:
    """n >= 2 noise levels that fall from sigma_max to sigma_min, and zero: n + 1 levels.

    Equally spaced in sigma^(1 / rho): a larger rho makes finer steps at small noise (Karras et al., arXiv:2206.00364,
    eq. 5).

    >>> [round(sigma, 3) for sigma in karras_schedule(4, 0.002, 80.0)]
    [80.0, 9.723, 0.47, 0.002, 0.0]
    """
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    ramp = [i / (n - 1) for i in range(n)]
    return [(high + part * (low - high)) ** rho for part in ramp] + [0.0]
