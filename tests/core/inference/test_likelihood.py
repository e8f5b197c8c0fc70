"""The log-likelihood of a data set: its value in closed form, its error, and the caveats it names."""

import math

import pytest
import torch
from maquette.core.data import Subset, TensorSource
from maquette.core.errors import ConfigError, SampleError, SpaceError
from maquette.core.families import families
from maquette.core.families.autoregressive.fvsbn import FVSBNConfig
from maquette.core.families.autoregressive.made import MADEConfig
from maquette.core.families.chain import ChainConfig
from maquette.core.families.flows.coupling import CouplingConfig
from maquette.core.families.flows.dequantised import DequantisedConfig, UniformDequantiserConfig
from maquette.core.families.gan.gan import GANConfig
from maquette.core.inference.likelihood import log_likelihood
from maquette.core.spaces import Binary, Levels, Product, Torus, Vector
from maquette.core.testing.bench import draw, keyed, shaken
from torch import nn

COINS = Vector(dim=6, support=Binary())


def test_a_fair_coin_is_worth_log_two():
    model = FVSBNConfig().build(COINS).double()
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    found = log_likelihood(model, TensorSource(draw(COINS, 40, seed=1)), COINS)
    assert found.value == pytest.approx(-6 * math.log(2), rel=1e-12)
    assert found.error == pytest.approx(0, abs=1e-12)
    assert str(found) == "-4.1589 +- 0.0000 nats per sample (log-mass of 6 dimensions, exact, n = 40)"


def test_the_mean_of_a_models_own_samples_is_its_entropy():
    """Over all states for the entropy; the error is that of the mean."""
    model, n = shaken(FVSBNConfig(), COINS, None, scale=1.0), 3000
    states = torch.cartesian_prod(*6 * [torch.arange(2.0, dtype=torch.float64)])
    with torch.no_grad():
        log_p, x = model.log_prob(states), model.sample(n, noise=keyed(n))
    entropy = -(log_p.exp() * log_p).sum().item()
    spread = math.sqrt((log_p.exp() * log_p.square()).sum().item() - entropy**2)
    found = log_likelihood(model, TensorSource(x), COINS)
    assert abs(found.value + entropy) <= 4 * found.error
    assert found.error == pytest.approx(spread / math.sqrt(n), rel=0.1)


class Components(nn.Module):
    """x = w z + noise with one standard normal z, bounded by draws of z from its prior."""

    direction = "lower"

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([1.0, -0.6, 0.3], dtype=torch.float64))

    def log_bound(self, x, condition=None, *, noise):
        mean = noise.normal("z")[:, None] * self.w
        return torch.distributions.Normal(mean, 0.7).log_prob(x).sum(1)

    def marginal(self):
        covariance = torch.outer(self.w, self.w) + 0.49 * torch.eye(3)
        return torch.distributions.MultivariateNormal(torch.zeros(3).double(), covariance.detach())


SPACE = Vector(dim=3)


def test_bounds_rise_with_draws_towards_the_exact_value():
    model = Components()
    x = model.marginal().sample((400,))
    exact, source = model.marginal().log_prob(x).mean().item(), TensorSource(x)
    one, ten, many = (log_likelihood(model, source, SPACE, draws=k) for k in (1, 10, 300))
    assert one.value < ten.value < many.value
    assert abs(many.value - exact) < 0.02
    assert (many.kind, many.draws, many.measure) == ("lower bound", 300, "density")
    assert "lower bound with 300 draws, n = 400" in str(many)


def test_batches_and_the_order_of_samples_do_not_matter():
    model, space = Components(), SPACE
    x = draw(space, 30, seed=1)
    whole = log_likelihood(model, TensorSource(x), space, draws=3)
    parts = log_likelihood(model, TensorSource(x), space, draws=3, batch=7)
    turned = log_likelihood(model, Subset(TensorSource(x), torch.arange(30).flip(0)), space, draws=3)
    other = log_likelihood(model, TensorSource(x), space, draws=3, seed=1)
    assert parts.value == pytest.approx(whole.value, rel=1e-12)
    assert turned.value == pytest.approx(whole.value, rel=1e-12)
    assert other.value != pytest.approx(whole.value, rel=1e-12)


def test_the_figure_names_masks_measure_base_and_dequantisation():
    x = draw(COINS, 10, seed=1)
    masks = log_likelihood(shaken(MADEConfig(hidden=(8,), masks=4), COINS, None), TensorSource(x), COINS)
    assert str(masks).endswith("(log-mass of 6 dimensions, exact, mixture of 4 masks or orders, n = 10)")
    levels = Vector(dim=4, support=Levels(count=8))
    config = DequantisedConfig(flow=CouplingConfig.example(), noise=UniformDequantiserConfig())
    found = log_likelihood(shaken(config, levels, None), TensorSource(draw(levels, 10, seed=1)), levels, draws=2)
    what = "log-mass of 4 dimensions, lower bound with 2 draws, normal base, uniform dequantisation of 8 levels"
    assert str(found).endswith(f"({what}, n = 10)")


def test_a_chain_has_the_notes_of_both_its_families():
    made = MADEConfig(hidden=(8,), masks=4)
    space = Product(parts={"a": COINS, "b": COINS})
    model = shaken(ChainConfig(first=made, second=made.model_copy(update={"masks": 8}), split=("a",)), space, None)
    found = log_likelihood(model, TensorSource(draw(space, 10, seed=1)), space)
    assert found.likelihood_notes == ("first: mixture of 4 masks or orders", "second: mixture of 8 masks or orders")


@pytest.mark.parametrize(
    ("name", "space"), [("circular-spline", Vector(dim=2, support=Torus())), ("flow-matching", SPACE)]
)
def test_flows_name_their_base(name, space):
    model = families.get(name).example().build(space)
    assert model.likelihood_notes == ("uniform base" if name == "circular-spline" else "normal base",)


def test_conditions_and_named_parts_are_handed_on():
    space, condition = Product(parts={"a": Vector(dim=2), "b": Vector(dim=1)}), Vector(dim=2)
    model = shaken(CouplingConfig.example(), space, condition)
    x, c = draw(space, 12, seed=1), draw(condition, 12, seed=2)
    found = log_likelihood(model, TensorSource(x, c), space, batch=5)
    assert found.value == pytest.approx(model.log_prob(x, c).mean().item(), rel=1e-12)
    assert (found.dimensions, found.measure) == (3, "density")
    single = log_likelihood(model.float(), TensorSource(x, c), space)
    assert single.value == pytest.approx(found.value, rel=1e-4)


def test_values_outside_of_their_support_are_not_scored():
    grey = draw(COINS, 4, seed=1) * 255
    with pytest.raises(SpaceError, match="x: expected zeros and ones, found 255"):
        log_likelihood(FVSBNConfig().build(COINS).double(), TensorSource(grey), COINS)


def test_models_without_a_likelihood_and_single_samples_are_refused():
    space = Vector(dim=2)
    with pytest.raises(ConfigError, match="has neither a density nor a bound"):
        log_likelihood(GANConfig.example().build(space), TensorSource(torch.zeros(3, 2)), space)
    with pytest.raises(SampleError, match="at least 2 samples, found 1"):
        log_likelihood(CouplingConfig.example().build(space), TensorSource(torch.zeros(1, 2)), space)
