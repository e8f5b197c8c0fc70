"""A base that follows the condition: densities with it keep the laws, and it learns mean and scale."""

import math

import pytest
import torch
from maquette.core.bases import ConditionalNormalConfig, RandomFieldConfig
from maquette.core.bases.conditional import LOG_SCALE
from maquette.core.data import Batch
from maquette.core.errors import ConfigError
from maquette.core.families.diffusion.distilled import DistilledConfig
from maquette.core.families.diffusion.edm import EDMConfig
from maquette.core.families.diffusion.flow_matching import FlowMatchingConfig
from maquette.core.families.flows.continuous import ContinuousConfig
from maquette.core.families.flows.linear import LinearConfig
from maquette.core.families.flows.spline import SplineConfig
from maquette.core.inference.impute_chain import impute_by_chain
from maquette.core.inference.latent import interpolate, plane
from maquette.core.layout import Layout
from maquette.core.nets.mlp import MLPConfig
from maquette.core.nets.unet import UNetConfig
from maquette.core.spaces import Field, Product, Vector
from maquette.core.testing.bench import draw, fit, keyed, shaken
from maquette.core.testing.laws import LAWS

BASE, SMALL = ConditionalNormalConfig(hidden=(4,)), MLPConfig(hidden=(8,))
UNET = UNetConfig(widths=(4,), strides=(), groups=2, attention=())
SPACE, CONDITION = Vector(dim=2), Vector(dim=1)
MATCHING = FlowMatchingConfig(network=SMALL, base=BASE)
FAMILIES = [
    LinearConfig(base=BASE),
    SplineConfig(transforms=2, hidden=(8,), base=BASE),
    ContinuousConfig(network=SMALL, base=BASE, steps=2),
    MATCHING,
    DistilledConfig(teacher=MATCHING),
]
DENSITY = ["normalised", "sample-density", "inverse", "log-det"]


@pytest.mark.parametrize("config", FAMILIES, ids=lambda config: config.kind)
@pytest.mark.parametrize("law", ["sample-condition", "gradients", *DENSITY])
def test_laws_hold(config, law):
    if config.kind == "distilled" and law in DENSITY:
        pytest.skip("a student has no density")
    if config.kind == "continuous" and law in ("normalised", "sample-density"):
        pytest.skip("as flow matching, and slower")
    LAWS[law].check(config, SPACE, CONDITION)


def test_fields_among_the_conditions_are_left_to_the_network():
    grid = Field(channels=1, grid=(4, 4))
    with pytest.raises(ConfigError, match="expected features of the condition to follow, found fields alone"):
        FlowMatchingConfig(network=UNET, base=BASE).build(grid, grid)
    both = Product(parts={"theta": Vector(dim=2), "density": grid})
    model = FlowMatchingConfig(network=UNET, base=BASE).build(grid, both)
    assert model.base.network[0].in_features == 2
    assert model.sample(3, draw(both, 3, seed=0), noise=keyed(3, dtype=torch.float32)).shape == (3, 1, 4, 4)


def test_a_flow_reads_its_base_at_the_condition():
    """The moments of the base are set by hand: N(c, 4)."""
    flow = LinearConfig(base=BASE).build(SPACE, CONDITION).double()
    flow.base.network = torch.nn.Linear(1, 4).double()
    with torch.no_grad():
        flow.base.network.weight.copy_(torch.tensor([[1.0], [1.0], [0.0], [0.0]]))
        raw = LOG_SCALE * math.atanh(math.log(2) / LOG_SCALE)
        flow.base.network.bias.copy_(torch.tensor([0.0, 0.0, raw, raw]))
        x, c = torch.tensor([[3.0, 5.0]]).double(), torch.tensor([[3.0]]).double()
        z, log_det = flow(x, c)
        expected = torch.distributions.Normal(c, 2.0).log_prob(z).sum(1) + log_det
        torch.testing.assert_close(flow.log_prob(x, c), expected, rtol=0, atol=1e-6)
        draws = flow.base.draw(3, keyed(3), c.expand(3, -1))
        torch.testing.assert_close(draws, 3 + 2 * keyed(3).normal("prior", (2,)), rtol=0, atol=1e-6)


def test_the_base_of_a_regression_is_fitted_to_the_data_first():
    """x = 2 c + exp(c) n: the stage "base" finds both, and the regression leaves them alone."""
    model = FlowMatchingConfig(network=SMALL, base=ConditionalNormalConfig(hidden=(32,))).build(CONDITION, CONDITION)
    base, field = model.stages()
    assert [base.name, field.name] == ["base", "fit"]
    generator = torch.Generator().manual_seed(0)

    def batch(step):
        c = 2 * torch.rand(256, 1, generator=generator) - 1
        return Batch(2 * c + c.exp() * torch.randn(256, 1, generator=generator), c, torch.arange(256))

    fit(model, batch, steps=250, lr=1e-2)
    c = torch.tensor([[-0.8], [0.0], [0.8]])
    mean, log_scale = model.base.moments(c)
    assert (mean - 2 * c).abs().max() < 0.3
    assert (log_scale - c).abs().max() < 0.15
    assert not {*model.base.parameters()} & {p for network in field.players[0].networks for p in network.parameters()}


def test_paths_planes_and_chains_follow_the_condition():
    flow = shaken(LinearConfig(base=BASE), SPACE, CONDITION, scale=0.5)
    c = torch.tensor([[2.0]], dtype=torch.float64)
    a, b = torch.zeros(1, 2).double(), torch.ones(1, 2).double()
    with torch.no_grad():
        walk = interpolate(flow, a, b, c, steps=3)
        torch.testing.assert_close(torch.cat([walk[0], walk[-1]]), torch.cat((a, b)))
        mean = flow.base.mean(c)
        grid = plane(flow, torch.zeros(2).double(), (0, 1), 3, c)
        torch.testing.assert_close(grid[1, 1], mean[0])
        n = 500
        many, known = c.expand(n, -1), torch.tensor([[False, True]])
        x = flow.sample(n, many, noise=keyed(n, seed=3))
        found = impute_by_chain(flow, x, known, many, noise=keyed(n), steps=60, scale=0.5).value
        # imputed values of true samples are distributed as these are
        error = (x[:, 0].var() / n + found[:, 0].var() / n).sqrt()
        assert (x[:, 0].mean() - found[:, 0].mean()).abs() < 4 * error


def test_a_diffusion_may_have_coloured_noise():
    grid = Field(channels=1, grid=(2,), periodic=(True,))
    spectrum = RandomFieldConfig(wavenumbers=(0.0, 3.0), power=(2.0, 0.5))
    config = EDMConfig(network=SMALL, base=spectrum, sampler={"steps": 4}, sigma_max=8.0)
    for law in ("log-det", "velocity", "gradients"):
        LAWS[law].check(config, grid, None)


def test_it_needs_a_condition():
    with pytest.raises(ConfigError, match="has no condition to follow; take the base normal"):
        BASE.build(Layout(SPACE))
