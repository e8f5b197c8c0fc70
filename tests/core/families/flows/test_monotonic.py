"""Quadratic splines whose slopes a network gives."""

import torch
from maquette.core.families.flows.monotonic import MonotonicConfig
from maquette.core.spaces import Vector
from maquette.core.testing.bench import shaken


def test_a_monotonic_map_is_the_integral_of_its_slope():
    """Between any two points, in the tails, and where slopes rise and fall by orders of magnitude."""
    flow = shaken(MonotonicConfig(transforms=1, knots=33), Vector(dim=1), None, scale=1.0)
    x = torch.linspace(-10, 10, 200_001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        z = flow.encode(x)
        slope = (flow.log_prob(x) - flow.base.log_prob(z)).exp()
        again = flow.decode(z)
    assert slope.max() > 100 * slope.min()
    area = torch.cumulative_trapezoid(slope, dx=1e-4)
    torch.testing.assert_close(z[1:, 0] - z[0, 0], area, rtol=0, atol=1e-6)
    assert (z.diff(dim=0) > 0).all()
    torch.testing.assert_close(again, x, rtol=0, atol=1e-10)
