"""Binning and separation power."""

import numpy as np
import pytest
from maquette.core.statistics.histogram import Binning, separation_power


def test_separation_power_of_known_histograms() -> None:
    assert separation_power([1, 1, 0], [2, 2, 0]) == pytest.approx(0.0)
    assert separation_power([1, 0], [0, 5]) == pytest.approx(1.0)
    # p = (.5, .5), q = (.25, .75): 1/2 (.0625/.75 + .0625/1.25)
    assert separation_power([1, 1], [1, 3]) == pytest.approx(0.5 * (0.0625 / 0.75 + 0.0625 / 1.25))
    assert np.isnan(separation_power([0, 0], [1, 1]))


def test_separation_power_of_equal_distributions_has_its_known_expectation() -> None:
    rng = np.random.default_rng(0)
    draws = rng.multinomial(1000, np.full(40, 1 / 40), size=(2, 300))
    assert separation_power(draws[0], draws[1]).mean() == pytest.approx(39 / 2000, rel=0.03)  # (bins - 1) / 2n


def test_bins_cover_the_bulk_and_keep_every_sample() -> None:
    rng = np.random.default_rng(1)
    reference = rng.normal(size=(20_000, 2)) * [1, 100]
    binning = Binning.of(reference)
    counts = binning.count(reference)
    assert counts.shape == (2, 52)
    assert (counts.sum(1) == 20_000).all()
    np.testing.assert_allclose(counts[:, [0, -1]], 20, atol=1)  # 0.1 % on either side
    np.testing.assert_allclose(np.diff(binning.edges, axis=1).std(1), 0, atol=1e-9)


def test_edges_belong_to_the_inner_bins() -> None:
    binning = Binning(np.array([0.0]), np.array([50.0]))
    np.testing.assert_array_equal(binning.index([[-1e-9], [0.0], [49.999], [50.0], [50.001]])[:, 0], [0, 1, 50, 50, 51])


def test_a_constant_feature_has_bins_too() -> None:
    binning = Binning.of(np.full((100, 1), 7.0))
    p, q = binning.count(np.full((10, 1), 7.0)), binning.count(np.full((10, 1), 7.1))
    assert separation_power(p, p)[0] == 0
    assert separation_power(p, q)[0] == 1


def test_counts_of_parts_add_up() -> None:
    x = np.random.default_rng(2).normal(size=(501, 3))
    binning = Binning.of(x)
    np.testing.assert_array_equal(binning.count(x[:200]) + binning.count(x[200:]), binning.count(x))
