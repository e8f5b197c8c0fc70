"""Classifier-free guidance: exact on a linear-Gaussian toy, and conditions that are left out in training."""

import pytest
import torch
from maquette.core.data import Batch
from maquette.core.errors import ConfigError
from maquette.core.families.diffusion.edm import EDMConfig
from maquette.core.families.diffusion.flow_matching import FlowMatchingConfig
from maquette.core.families.guidance import with_given
from maquette.core.families.sampling import with_sampler
from maquette.core.nets.mlp import MLPConfig
from maquette.core.spaces import Levels, Product, Vector
from maquette.core.testing.bench import draw, keyed, shaken
from maquette.core.testing.laws import LAWS
from torch import nn

SMALL = MLPConfig(hidden=(8,))
S2, TAU2 = 0.5, 2.0  # variance of x given c, and of c: x ~ N(0, S2 + TAU2)
LABELLED = Product(parts={"kind": Vector(dim=1, support=Levels(count=3)), "energy": Vector(dim=1)})


class Exact(nn.Module):
    """The raw network of EDM with sigma_data = 1 that makes the exact denoisers, with the condition and without."""

    def forward(self, x, time, context):
        sigma = (4 * time[:, None]).exp()
        total = (1 + sigma**2).sqrt()
        x = x * total
        c, given = context.vector.chunk(2, dim=1)
        variance = S2 + (1 - given) * TAU2
        mean = given * c
        denoised = mean + variance / (variance + sigma**2) * (x - mean)
        return (denoised - x / total**2) * total / sigma


@pytest.fixture(scope="module")
def toy():
    config = EDMConfig(network=SMALL, drop=0.1, sampler={"steps": 200})
    model = config.build(Vector(dim=1), Vector(dim=1)).double()
    model.network = Exact()
    return model


@pytest.mark.parametrize("weight", [-1.0, 0.5, 3.0])
def test_the_guided_field_is_that_of_the_tilted_normal(toy, weight):
    """p(x | c)^(1 + w) / p(x)^w at noise level s is normal, with precision and mean as below; its score is known."""
    x, c, sigma = draw(Vector(dim=1), 20, 0), draw(Vector(dim=1), 20, 1), torch.linspace(0.1, 9, 20).double()
    a, b = S2 + sigma[:, None] ** 2, S2 + TAU2 + sigma[:, None] ** 2
    precision = (1 + weight) / a - weight / b
    mean = (1 + weight) * c / a / precision
    guided = toy.with_sampler(guidance=weight)
    found = guided.guided(guided.layout.context(c, x))(x, sigma)
    torch.testing.assert_close(found, -sigma[:, None] * precision * (mean - x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("weight", [-1.0, 0.0, 2.0])
def test_guided_samples_are_those_of_the_linear_flow(toy, weight):
    """dx/da = ((1 + w) (x - c) / a - w x / b) / 2 with a = S2 + s^2 and b = a + TAU2, from a power and a quadrature."""
    c, noise = torch.tensor([[1.0], [1.0], [-2.0]]).double(), keyed(3)
    start, end = S2 + 80.0**2, S2
    a = torch.logspace(torch.tensor(start).log10(), torch.tensor(end).log10(), 200_001).double()
    h = a ** ((1 + weight) / 2) * (a + TAU2) ** (-weight / 2)
    forced = torch.trapezoid(-(1 + weight) / (2 * a) / h, a)
    x0 = 80.0 * noise.normal("prior", (1,))
    expected = h[-1] * (x0 / h[0] + c * forced)
    found = toy.with_sampler(guidance=weight).sample(3, c, noise=noise)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)


def test_without_guidance_nothing_changes_to_the_bit(toy):
    c, noise = draw(Vector(dim=1), 5, 1), keyed(5)
    assert torch.equal(toy.with_sampler(guidance=0.0).sample(5, c, noise=noise), toy.sample(5, c, noise=noise))
    calls = []
    hook = toy.network.register_forward_hook(lambda *_: calls.append(1))
    toy.sample(5, c, noise=noise)
    hook.remove()
    assert len(calls) == 2 * 200 - 1  # one evaluation where guidance takes two


def test_weight_minus_one_is_the_unconditional_model(toy):
    c, noise = draw(Vector(dim=1), 5, 1), keyed(5)
    assert torch.equal(toy.with_sampler(guidance=-1.0).sample(5, c, noise=noise), toy.sample(5, noise=noise))


@pytest.mark.parametrize("family", [EDMConfig, FlowMatchingConfig])
def test_conditions_are_left_out_as_often_as_said(family):
    model = shaken(family(network=SMALL, drop=0.3), Vector(dim=2), LABELLED)
    n = 1000
    x, index = draw(Vector(dim=2), n, 0), torch.arange(n)
    losses = [
        model.stages()[0].players[0].objective(Batch(x, draw(LABELLED, n, seed), index), keyed(n)).losses
        for seed in (1, 2)
    ]
    deaf = (losses[0] == losses[1]).double().mean()
    assert abs(deaf - 0.3) < 0.06


@pytest.mark.parametrize("family", [EDMConfig, FlowMatchingConfig])
@pytest.mark.parametrize("law", ["sample-condition", "gradients", "losses"])
def test_laws_hold_where_conditions_may_be_left_out(family, law):
    LAWS[law].check(family(network=SMALL, drop=0.3), Vector(dim=2), LABELLED)


def test_what_cannot_be_left_out_is_refused():
    with pytest.raises(ConfigError, match="there is no condition to leave out"):
        EDMConfig(drop=0.1).build(Vector(dim=1))
    with pytest.raises(ConfigError, match='"given" names the mark'):
        with_given(Product(parts={"given": Vector(dim=1), "b": Vector(dim=1)}))
    model = EDMConfig(network=SMALL).build(Vector(dim=1), Vector(dim=1))
    with pytest.raises(ConfigError, match=r"sampler\.guidance: this model always had its condition"):
        with_sampler(model, ["sampler.guidance=1"])
