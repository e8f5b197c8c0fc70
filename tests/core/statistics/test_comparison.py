"""Halves, group sums, and whether the errors of a contrast are what they claim."""

import numpy as np
import pytest
from maquette.core.errors import SampleError
from maquette.core.statistics.comparison import contrast, group_sums, halves
from maquette.core.statistics.histogram import Binning, separation_power


def test_halves_are_disjoint_and_equal() -> None:
    parts = halves(1000, 900, np.random.default_rng(0))
    assert parts.n == 500
    assert len(parts.generated) == 1
    assert set(parts.reference[0]).isdisjoint(parts.reference[1])
    assert parts.matches == ((0, 0), (0, 1))
    parts = halves(1000, 5000, np.random.default_rng(0))
    assert len(parts.generated) == 2
    assert set(parts.generated[0]).isdisjoint(parts.generated[1])
    assert parts.matches == ((0, 0), (1, 1))
    assert halves(1000, 5000, np.random.default_rng(0), cap=70).n == 70


def test_too_few_samples_are_refused_with_numbers() -> None:
    with pytest.raises(SampleError, match="found 39 and 1000"):
        halves(39, 1000, np.random.default_rng(0))


def sums_of(reference, generated, function):
    n = len(reference) // 2
    parts = halves(len(reference), len(generated), np.random.default_rng(0))
    assert parts.n == n
    return (
        np.stack([group_sums(lambda rows: function(reference[rows]), part) for part in parts.reference]),
        np.stack([group_sums(lambda rows: function(generated[rows]), part) for part in parts.generated]),
    )


def test_mean_difference_has_the_textbook_error() -> None:
    rng = np.random.default_rng(3)
    reference, generated = rng.normal(size=4000), rng.normal(0.5, 2, size=4000)
    sums = sums_of(reference, generated, lambda x: np.array([len(x), x.sum()]))
    result = contrast(lambda g, r: g[1] / g[0] - r[1] / r[0], *sums, distance=False, rng=rng)
    assert result.value == pytest.approx(generated.mean() - reference.mean())
    assert result.stderr == pytest.approx(np.sqrt(1 / 4000 + 4 / 4000), rel=0.3)
    assert result.floor_stderr == pytest.approx(np.sqrt(2 / 2000), rel=0.4)


@pytest.mark.parametrize("copies", [1, 2])
def test_pulls_of_a_distance_are_of_unit_size_or_smaller(copies: int) -> None:
    rng = np.random.default_rng(4)
    binning = Binning(np.array([-3.0]), np.array([3.0]), bins=30)
    pulls, values, claimed = [], [], []
    for _ in range(60):
        sums = sums_of(rng.normal(size=(600, 1)), rng.normal(size=(300 * copies, 1)), binning.count)
        result = contrast(lambda g, r: float(separation_power(g, r)[0]), *sums, distance=True, rng=rng)
        pulls.append((result.value - result.floor) / np.hypot(result.stderr, result.floor_stderr))
        values.append(result.value)
        claimed.append(result.stderr)
    # Value and floor share the reference, so pulls are a little narrower than a standard normal.
    assert abs(np.mean(pulls)) < 0.4
    assert 0.55 < np.std(pulls) < 1.2
    assert np.sqrt(np.mean(np.square(claimed))) == pytest.approx(np.std(values), rel=0.35)


def test_error_of_a_distance_is_right_far_from_zero_too() -> None:
    rng = np.random.default_rng(5)
    binning = Binning(np.array([-3.0]), np.array([3.0]), bins=30)
    values, claimed = [], []
    for _ in range(40):
        sums = sums_of(rng.normal(size=(600, 1)), rng.normal(0.7, 1, size=(600, 1)), binning.count)
        result = contrast(lambda g, r: float(separation_power(g, r)[0]), *sums, distance=True, rng=rng)
        values.append(result.value)
        claimed.append(result.stderr)
    assert np.mean(claimed) == pytest.approx(np.std(values), rel=0.35)
