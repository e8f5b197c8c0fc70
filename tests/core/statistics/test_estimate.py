"""How far an estimate lies beyond its floor, and what of it goes to JSON."""

import math

import pytest
from maquette.core.statistics.estimate import Estimate


@pytest.mark.parametrize(
    ("value", "floor", "better", "expected"),
    [
        (3.0, 1.0, "lower", 4.0),
        (0.0, 1.0, "lower", -2.0),
        (3.0, 1.0, "higher", -4.0),
        (0.0, 1.0, "higher", 2.0),
        (0.0, 1.0, "floor", 2.0),
        (math.nan, 1.0, "lower", math.inf),
    ],
)
def test_significance_counts_errors_in_the_direction_that_is_worse(value, floor, better, expected) -> None:
    estimate = Estimate(value, 0.3, floor, 10, "", better, "a figure", floor_stderr=0.4)
    assert estimate.significance() == pytest.approx(expected)


def test_without_a_floor_there_is_no_significance() -> None:
    assert math.isnan(Estimate(1.0, 0.1, math.nan, 10, "", "lower", "a figure").significance())
    assert math.isnan(Estimate(math.nan, 0.1, math.nan, 10, "", "lower", "a figure").significance())


def test_without_errors_any_difference_is_infinitely_significant() -> None:
    assert Estimate(1.0, 0.0, 0.5, 10, "", "lower", "a figure").significance() == math.inf
    assert math.isnan(Estimate(0.5, 0.0, 0.5, 10, "", "lower", "a figure").significance())


def test_json_has_no_nan() -> None:
    content = Estimate(1.0, 0.1, math.nan, 10, "", "lower", "a figure").to_json()
    assert content["floor"] is content["floor_stderr"] is None
    assert content["value"] == 1.0


def test_a_paired_difference_has_its_own_error():
    one = Estimate(31.0, 3.0, 30.0, 10, "dB", "higher", "x", 3.0, against="baseline", difference_stderr=0.1)
    assert one.significance() == pytest.approx(-10)


def test_a_figure_held_against_nothing_is_not_judged():
    assert math.isnan(Estimate(9.0, 0.1, 1.0, 10, "s", "lower", "x", 0.1, against="nothing").significance())
