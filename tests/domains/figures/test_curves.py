"""Densities and ratios with their errors."""

import numpy as np
import pytest
from maquette.domains.figures.curves import Curve, density


def test_densities_integrate_to_one_and_ratios_carry_both_errors() -> None:
    edges = np.linspace(0, 1, 11)
    curve = density(np.random.default_rng(0).random(1000), edges)
    assert (curve.value * np.diff(edges)).sum() == pytest.approx(1)
    assert curve.error[0] == pytest.approx(np.sqrt(curve.value[0] * 0.1 * 1000) / 100)
    ratio = Curve(np.array([2.0, 0.0, 1.0]), np.array([0.2, 0.1, 0.1])).over(
        Curve(np.array([1.0, 1.0, 0.0]), np.array([0.1, 0.1, 0.1]))
    )
    assert ratio.value[0] == 2
    assert ratio.error[0] == pytest.approx(2 * np.hypot(0.1, 0.1))
    assert ratio.value[1] == 0
    assert ratio.error[1] == pytest.approx(0.1)
    assert np.isnan(ratio.value[2])
