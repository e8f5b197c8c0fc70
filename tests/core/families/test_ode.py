"""The abstract base of models along an ODE, with a field whose flow is known."""

import math

import pytest
import torch
from maquette.core.families.ode import ODEModel
from maquette.core.families.sampling import ODESamplerConfig
from maquette.core.layout import Layout
from maquette.core.samplers.ode import dopri5
from maquette.core.spaces import Vector
from maquette.core.testing.bench import keyed
from torch import nn


class Growth(ODEModel):
    """dx/dt = x from N(0, 3^2) at t = 1 to data at t = 2: data are N(0, (3 e)^2)."""

    def __init__(self):
        options = {"t0": 1.0, "t1": 2.0, "scale": 3.0, "sampler": ODESamplerConfig(method="rk4", steps=50)}
        super().__init__(Layout(Vector(dim=2)), nn.Identity(), adaptive_integrator=dopri5, **options)

    def field(self, context):
        return lambda x, t: x


def test_a_model_without_a_field_cannot_be_built():
    class Still(ODEModel):
        pass

    options = {"sampler": ODESamplerConfig(), "adaptive_integrator": dopri5}
    with pytest.raises(TypeError, match=r"abstract method.* field"):
        Still(Layout(Vector(dim=2)), nn.Identity(), **options)


def test_samples_codes_and_densities_agree_with_the_flow():
    model, noise = Growth(), keyed(20)
    z = noise.normal("prior", (2,))
    x = 3 * math.e * z
    torch.testing.assert_close(model.sample(20, noise=noise), x, rtol=1e-6, atol=0)
    torch.testing.assert_close(model.decode(z), x, rtol=1e-4, atol=0)
    torch.testing.assert_close(model.encode(x), z, rtol=1e-4, atol=0)
    exact = torch.distributions.Normal(0.0, 3 * math.e).log_prob(x).sum(1)
    torch.testing.assert_close(model.log_prob(x), exact, rtol=0, atol=1e-3)
    torch.testing.assert_close(model.velocity(x, torch.ones(20)), x)


def test_sampling_reports_its_steps():
    seen = []
    model = Growth()
    x = model.sample(3, noise=keyed(3), callback=seen.append)
    assert [done.time for done in seen] == model.times[1:]
    assert torch.equal(seen[-1].state, x)


def test_it_prints_what_it_is():
    assert "t0=1, t1=2, scale=3, steps=50" in repr(Growth())
