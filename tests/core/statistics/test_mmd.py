"""The kernel distance against its double sum, and without bias."""

import numpy as np
import pytest
from maquette.core.statistics.mmd import GroupedKernel, polynomial_kernel

RNG = np.random.default_rng


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


def test_kernel_distance_is_unbiased_for_equal_distributions() -> None:
    rng = RNG(4)
    values = []
    for _ in range(200):
        kernel = GroupedKernel(list(rng.normal(size=(2, 40, 3))))
        values.append(kernel.mmd2(*kernel.units))
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(200)
