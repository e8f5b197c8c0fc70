"""Circular splines: densities on the torus."""

import math

import torch
from maquette.core.families.flows.circular_spline import CircularSplineConfig
from maquette.core.families.flows.coupling import Coupling
from maquette.core.spaces import Torus, Vector
from maquette.core.testing.bench import keyed, shaken


def test_densities_are_periodic_and_continuous():
    """The density has the period of the space, and is continuous where the circle is cut."""
    period = 4.0
    flow = shaken(CircularSplineConfig.example(), Vector(dim=2, support=Torus(period=period)), None, scale=0.5)
    x = period * torch.rand(100, 2, dtype=torch.float64)
    turns = torch.randint(-3, 4, (100, 2)).double()
    torch.testing.assert_close(flow.log_prob(x + period * turns), flow.log_prob(x), rtol=0, atol=1e-9)
    for seam in (0.0, period / 2):
        left, right = (
            flow.log_prob(torch.cat((torch.full_like(x[:, :1], seam + e), x[:, 1:]), 1)) for e in (-1e-11, 1e-11)
        )
        torch.testing.assert_close(left, right, rtol=0, atol=1e-6)
    samples = flow.sample(200, noise=keyed(200))
    assert (samples >= 0).all()
    assert (samples < period).all()


def test_networks_see_cosine_and_sine():
    """They distinguish theta from -theta, which has the same cosine, and from pi - theta, which has the same sine."""
    flow = shaken(CircularSplineConfig.example(), Vector(dim=2, support=Torus()), None, scale=0.5)
    network = next(lazy.network for lazy in flow.transforms if isinstance(lazy, Coupling))
    theta = torch.tensor([[0.7]], dtype=torch.float64)
    for other in (-theta, math.pi - theta):
        assert (network(theta) - network(other)).abs().max() > 1e-2
    torch.testing.assert_close(network(theta + 2 * math.pi), network(theta))
