"""The Wasserstein distance against scipy's."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from maquette.core.statistics.wasserstein import wasserstein_distance

RNG = np.random.default_rng


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 1000))
def test_wasserstein_distance_agrees_with_scipy(n: int, m: int, seed: int) -> None:
    x, y = RNG(seed).normal(size=n), RNG(seed + 1).exponential(size=m)
    assert wasserstein_distance(x, y) == pytest.approx(scipy.stats.wasserstein_distance(x, y))
