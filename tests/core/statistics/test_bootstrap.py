"""The bootstrap error of a mean."""

import numpy as np
import pytest
from maquette.core.statistics.bootstrap import bootstrap_stderr

RNG = np.random.default_rng


def test_bootstrap_error_of_a_mean() -> None:
    x = RNG(5).normal(0, 3, size=900)
    assert bootstrap_stderr(lambda a: float(a.mean()), x, rng=RNG(6), resamples=400) == pytest.approx(0.1, rel=0.15)
