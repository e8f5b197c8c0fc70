"""Frechet, kernel, Wasserstein and nearest-neighbour distances against closed forms and independent sums."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from maquette.core.statistics.bootstrap import bootstrap_stderr
from maquette.core.statistics.frechet import frechet_distance, frechet_infinity, moment_sums, moments
from maquette.core.statistics.mmd import GroupedKernel, polynomial_kernel
from maquette.core.statistics.neighbours import nearest_distance
from maquette.core.statistics.wasserstein import wasserstein_distance
from scipy.linalg import sqrtm

RNG = np.random.default_rng


def test_frechet_distance_of_gaussians() -> None:
    rng = RNG(0)
    a, b = (q @ q.T + np.eye(5) for q in rng.normal(size=(2, 5, 5)))
    m = rng.normal(size=5)
    expected = (m**2).sum() + np.trace(a + b - 2 * np.real(sqrtm(a @ b)))
    assert frechet_distance((np.zeros(5), a), (m, b)) == pytest.approx(expected)
    assert frechet_distance((m, a), (m, a)) == pytest.approx(0, abs=1e-10)


def test_frechet_distance_bears_singular_covariances() -> None:
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


def test_grouped_kernel_equals_the_double_sum() -> None:
    rng = RNG(3)
    groups = [rng.normal(size=(n, 3)) for n in (4, 5, 6, 7)]
    kernel = GroupedKernel(groups)
    x, y = np.concatenate(groups[:2]), np.concatenate(groups[2:])

    def within(z):
        k = polynomial_kernel(z, z)
        return (k.sum() - np.trace(k)) / (len(z) * (len(z) - 1))

    expected = within(x) + within(y) - 2 * polynomial_kernel(x, y).mean()
    assert kernel.mmd2(kernel.units[:2].sum(0), kernel.units[2:].sum(0)) == pytest.approx(expected)
    assert polynomial_kernel(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]))[0, 0] == pytest.approx(6.5**4)


def test_kernel_distance_is_unbiased_under_one_law() -> None:
    rng = RNG(4)
    values = []
    for _ in range(200):
        kernel = GroupedKernel(list(rng.normal(size=(2, 40, 3))))
        values.append(kernel.mmd2(*kernel.units))
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(200)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 1000))
def test_wasserstein_distance_agrees_with_scipy(n: int, m: int, seed: int) -> None:
    x, y = RNG(seed).normal(size=n), RNG(seed + 1).exponential(size=m)
    assert wasserstein_distance(x, y) == pytest.approx(scipy.stats.wasserstein_distance(x, y))


def test_bootstrap_error_of_a_mean() -> None:
    x = RNG(5).normal(0, 3, size=900)
    assert bootstrap_stderr(lambda a: float(a.mean()), x, rng=RNG(6), resamples=400) == pytest.approx(0.1, rel=0.15)


def test_nearest_distance_finds_copies_exactly() -> None:
    rng = RNG(7)
    pool = rng.normal(size=(300, 50)) + 1000  # far from the origin, where squares of norms cancel badly
    x = np.concatenate([pool[17:18], rng.normal(size=(20, 50)) + 1000])
    found = nearest_distance(x, pool, block=8)
    direct = np.linalg.norm(x[:, None] - pool[None], axis=2).min(1)
    assert found[0] == 0
    np.testing.assert_allclose(found, direct, rtol=1e-4, atol=1e-4)
