"""Schedules end where they should, with steps where they are needed."""

import math
from itertools import pairwise

import pytest
from maquette.core.samplers.schedules import karras_schedule, linear_schedule


def test_a_linear_schedule_has_equal_steps():
    assert linear_schedule(0, 1, 4) == [0, 0.25, 0.5, 0.75, 1]
    assert linear_schedule(1, 0, 2) == [1, 0.5, 0]


def test_karras_levels_are_equally_spaced_in_a_power():
    levels = karras_schedule(18, 0.002, 80.0, rho=7.0)
    assert (len(levels), levels[-1]) == (19, 0.0)
    assert (levels[0], levels[-2]) == (pytest.approx(80.0), pytest.approx(0.002))
    roots = [level ** (1 / 7) for level in levels[:-1]]
    steps = [a - b for a, b in pairwise(roots)]
    assert steps == pytest.approx([(80 ** (1 / 7) - 0.002 ** (1 / 7)) / 17] * 17)


def test_a_larger_rho_makes_finer_steps_at_small_noise():
    least = [karras_schedule(10, 0.01, 10.0, rho)[-3] for rho in (1.0, 3.0, 7.0)]
    assert least == sorted(least, reverse=True)
    assert math.isclose(least[0], 0.01 + 9.99 / 9)
