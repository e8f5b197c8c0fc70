"""Figures of samples that belong to rows: errors over rows, differences on the same rows, nominal values."""

import math

import numpy as np
import pytest
from maquette.core.errors import SampleError
from maquette.core.statistics.paired import against_baseline, coverage, row_means


def test_means_of_rows_in_any_order():
    rows, means = row_means([1.0, 2.0, 3.0, 10.0], [5, 9, 5, 0])
    assert rows.tolist() == [0, 5, 9]
    assert means.tolist() == [10.0, 2.0, 2.0]


def psnr(rng, m=40, samples=8, gain=0.5):
    """Figures that differ much between images, little between samples of one image."""
    images = rng.normal(30, 4, m)
    rows = np.repeat(np.arange(m), samples)
    values = images[rows] + gain + rng.normal(0, 0.2, m)[rows] + rng.normal(0, 0.5, len(rows))
    return values, rows, images


def compare(values, rows, baseline, baseline_rows):
    return against_baseline(
        values, rows, baseline, baseline_rows, name="wavelets", better="higher", definition="PSNR.", unit="dB"
    )


def test_the_error_of_a_paired_difference_is_its_spread_over_data_sets():
    found = []
    for seed in range(200):
        values, rows, images = psnr(np.random.default_rng(seed))
        found.append(compare(values, rows, images, np.arange(40)))
    gains = np.array([one.value - one.floor for one in found])
    claimed = np.sqrt(np.mean([one.difference_stderr**2 for one in found]))
    assert gains.mean() == pytest.approx(0.5, abs=4 * gains.std() / math.sqrt(200))
    assert claimed == pytest.approx(gains.std(), rel=0.2)
    assert np.std([one.value for one in found]) == pytest.approx(np.mean([one.stderr for one in found]), rel=0.2)
    assert claimed < 0.1 * found[0].stderr  # what pairing is for


def test_samples_of_one_row_count_once():
    values, rows, images = psnr(np.random.default_rng(0), samples=1)
    once = compare(values, rows, images, np.arange(40))
    copies = compare(np.tile(values, 50), np.tile(rows, 50), images, np.arange(40))
    assert (copies.stderr, copies.n) == (pytest.approx(once.stderr), 40)


def test_only_rows_that_both_have_are_compared():
    values, rows, images = psnr(np.random.default_rng(0), samples=2)
    shuffled = np.random.default_rng(1).permutation(len(rows))
    part = compare(values[shuffled], rows[shuffled], images[10:30][::-1], np.arange(10, 30)[::-1])
    whole = compare(values[20:60], rows[20:60], images[10:30], np.arange(10, 30))
    assert part.n == 20
    assert part.value == pytest.approx(whole.value)
    assert part.difference_stderr == pytest.approx(whole.difference_stderr)


def test_a_method_that_is_worse_fails():
    values, rows, images = psnr(np.random.default_rng(0), gain=-0.5)
    assert compare(values, rows, images, np.arange(40)).significance() > 3


def test_coverage_is_held_against_what_the_intervals_claim():
    rng = np.random.default_rng(0)
    rows = np.repeat(np.arange(50), 200)
    honest = coverage(rng.random(len(rows)) < 0.9, rows, nominal=0.9, definition="Coverage.")
    narrow = coverage(rng.random(len(rows)) < 0.8, rows, nominal=0.9, definition="Coverage.")
    wide = coverage(np.ones(len(rows)), rows, nominal=0.9, definition="Coverage.")
    assert honest.significance() < 3 < narrow.significance()
    assert wide.significance() > 3  # too wide is wrong too, and its spread is zero
    assert (honest.against, honest.n) == ("nominal", 50)


def test_values_of_one_row_are_not_independent():
    """Whole images inside or outside of their intervals: the error is that of 50 images, not of 10,000 pixels."""
    rng = np.random.default_rng(0)
    inside = np.repeat(rng.random(50) < 0.9, 200)
    found = coverage(inside, np.repeat(np.arange(50), 200), nominal=0.9, definition="Coverage.")
    assert found.stderr == pytest.approx(math.sqrt(0.9 * 0.1 / 50), rel=0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: row_means([], []), "one row per sample"),
        (lambda: row_means([1.0, 2.0], [1]), "one row per sample"),
        (lambda: compare([1.0, 2.0], [0, 1], [1.0, 2.0], [1, 2]), "two rows that both have; found 1"),
        (lambda: coverage([True, True], [3, 3], nominal=0.9, definition="x"), "two rows at least; found 1"),
    ],
)
def test_too_little_is_a_sentence(call, message):
    with pytest.raises(SampleError, match=message):
        call()
