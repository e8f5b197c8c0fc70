"""The Frechet distance: closed forms, sums of parts, extrapolation to infinite samples."""

import numpy as np
import pytest
from maquette.core.statistics.frechet import frechet_distance, frechet_infinity, moment_sums, moments
from scipy.linalg import sqrtm

RNG = np.random.default_rng


def test_frechet_distance_of_gaussians() -> None:
    rng = RNG(0)
    a, b = (q @ q.T + np.eye(5) for q in rng.normal(size=(2, 5, 5)))
    m = rng.normal(size=5)
    expected = (m**2).sum() + np.trace(a + b - 2 * np.real(sqrtm(a @ b)))
    assert frechet_distance((np.zeros(5), a), (m, b)) == pytest.approx(expected)
    assert frechet_distance((m, a), (m, a)) == pytest.approx(0, abs=1e-10)


def test_frechet_distance_of_singular_covariances() -> None:
    one, other = np.diag([1.0, 0.0]), np.diag([4.0, 0.0])
    assert frechet_distance((np.zeros(2), one), (np.zeros(2), other)) == pytest.approx(1.0)


def test_moments_from_sums_of_parts() -> None:
    x = RNG(1).normal(size=(100, 4))
    mean, covariance = moments(moment_sums(x[:30]) + moment_sums(x[30:]))
    np.testing.assert_allclose(mean, x.mean(0))
    np.testing.assert_allclose(covariance, np.cov(x.T))


def test_extrapolation_removes_the_bias_of_small_batches() -> None:
    rng = RNG(2)
    x, y = rng.normal(size=(2, 20_000, 5))
    y = y + 0.1
    plain = frechet_distance(moments(moment_sums(x[:500])), moments(moment_sums(y[:500])))
    value, error = frechet_infinity(x, y, rng, samples=(200, 1000), points=5, batches=20)
    assert abs(value - 0.05) < 4 * error + 0.01
    assert abs(value - 0.05) < abs(plain - 0.05)
