"""The jackknife's variance."""

import numpy as np
import pytest
from maquette.core.statistics.jackknife import jackknife_variance


def test_of_a_mean_it_is_the_textbook_variance() -> None:
    x = np.random.default_rng(0).normal(size=50)
    assert jackknife_variance((x.sum() - x) / 49) == pytest.approx(x.var(ddof=1) / 50)


def test_of_a_constant_it_is_zero() -> None:
    assert jackknife_variance([2.0, 2.0, 2.0]) == 0
