"""Frechet distance between Gaussians with the moments of two samples, and its limit for infinitely large samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Floats = NDArray[np.float64]


def moment_sums(x: Floats) -> Floats:
    """Sums of 1, x and x x' over x (n, F), flattened to (1 + F + F^2,); sums of disjoint samples can be added.

    Centre and scale x first: sums of squares of large values lose digits.

    >>> moment_sums(np.array([[0.0, 1.0], [2.0, 1.0]])).tolist()
    [2.0, 2.0, 2.0, 4.0, 2.0, 2.0, 2.0]
    """
    x = np.asarray(x, dtype=np.float64)
    return np.concatenate([[len(x)], x.sum(0), (x.T @ x).ravel()])


def moments(sums: Floats) -> tuple[Floats, Floats]:
    """Mean (F,) and unbiased covariance (F, F) from `moment_sums`.

    >>> mean, covariance = moments(moment_sums(np.array([[0.0, 1.0], [2.0, 1.0]])))
    >>> mean.tolist(), covariance.tolist()
    ([1.0, 1.0], [[2.0, 0.0], [0.0, 0.0]])
    """
    features = int((np.sqrt(4 * len(sums) - 3) - 1) / 2)
    n, total, squares = sums[0], sums[1 : features + 1], sums[features + 1 :].reshape(features, features)
    mean = total / n
    return mean, (squares - n * np.outer(mean, mean)) / (n - 1)


def frechet_distance(one: tuple[Floats, Floats], other: tuple[Floats, Floats]) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^1/2) of two (mean, covariance), by symmetric eigenvalues.

    Source: Dowson & Landau, J. Multivariate Anal. 12 (1982) 450.

    >>> standard = (np.zeros(2), np.eye(2))
    >>> frechet_distance(standard, (np.array([3.0, 0.0]), np.eye(2)))
    9.0
    """
    (m1, s1), (m2, s2) = one, other
    value, vector = np.linalg.eigh(s1)
    root = vector * np.sqrt(np.clip(value, 0, None))  # s1 = root root'
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root.T @ s2 @ root), 0, None)).sum()
    return float(((m1 - m2) ** 2).sum() + np.trace(s1) + np.trace(s2) - 2 * cross)


def frechet_infinity(
    generated: Floats,
    reference: Floats,
    rng: np.random.Generator,
    *,
    samples: tuple[int, int] = (20_000, 50_000),
    points: int = 10,
    batches: int = 20,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[float, float]:
    """Frechet distance, extrapolated linearly in 1/N to infinitely large samples: its value and standard error.

    At each of `points` sizes N, evenly spaced in 1/N between the two `samples`, the distance is averaged over
    `batches` batches drawn with replacement. Intercept and slope are constrained to be non-negative, as in JetNet's
    FPD. The error is that of drawing the batches. Scale both samples by the same factors beforehand.

    Args:
        generated, reference: (n, F) and (m, F).
        rng: draws the batches.
        samples: smallest and largest N.
        points: number of sizes N.
        batches: number of batches of each size.
        progress: called as progress(sizes done, points).

    Source: Kansal et al., Phys. Rev. D 107 (2023) 076017, arXiv:2211.10295 (FPD); the extrapolation is that of
    Chong & Forsyth, arXiv:1911.07023.

    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(5000, 2)), rng.normal(size=(5000, 2)) + np.array([1.0, 0.0])
    >>> value, error = frechet_infinity(y, x, rng, samples=(200, 1000), points=5)
    >>> round(value, 1), error < 0.05  # |1 - 0|^2 = 1
    (1.0, True)
    """
    low, high = samples
    sizes = (1 / np.linspace(1 / low, 1 / high, points)).astype(int)
    values = np.empty((points, batches))
    for k, size in enumerate(sizes):
        for b in range(batches):
            drawn = [x[rng.integers(len(x), size=size)] for x in (generated, reference)]
            values[k, b] = frechet_distance(*(moments(moment_sums(x)) for x in drawn))
        progress(k + 1, points)
    design = np.stack([np.ones(points), low / sizes], axis=1)  # this scale keeps both columns of order one
    solution, _ = nnls(design, values.mean(1))
    free = design[:, solution > 0] if solution[0] > 0 else design
    variance = values.var(1, ddof=1).mean() / batches
    return float(solution[0]), float(np.sqrt(np.linalg.inv(free.T @ free)[0, 0] * variance))
