"""Flows of integer levels: valid bounds, samples that follow the probabilities, learned dequantisation."""

import math

import pytest
import torch
from maquette.core.data import Batch
from maquette.core.errors import ConfigError
from maquette.core.families.flows.coupling import CouplingConfig
from maquette.core.families.flows.dequantised import DequantisedConfig, VariationalDequantiserConfig
from maquette.core.families.flows.flow_plus_plus import FlowPlusPlusConfig
from maquette.core.families.flows.planar import PlanarConfig
from maquette.core.families.gan.gan import GANConfig
from maquette.core.noise import KeyedNoise
from maquette.core.spaces import Binary, Field, Levels, Vector
from maquette.core.testing.bench import keyed, shaken
from maquette.core.testing.laws import LAWS

PIXELS = Field(channels=1, grid=(1, 2), support=Levels(count=3))

PLUS = FlowPlusPlusConfig.example()

UNIFORM = DequantisedConfig(flow=PlanarConfig.example())


@pytest.mark.parametrize("condition", [None, Vector(dim=2)])
@pytest.mark.parametrize("config", [PLUS, UNIFORM], ids=["flow++", "uniform"])
def test_bounds_are_below_the_likelihood_and_unbiased(config, condition):
    LAWS["bound"].check(config, PIXELS, condition)


@pytest.mark.parametrize("config", [PLUS, UNIFORM], ids=["flow++", "uniform"])
def test_samples_follow_the_probabilities(config):
    model, n = shaken(config, PIXELS, None, scale=0.3), 20_000
    with torch.no_grad():
        x = model.sample(n, noise=keyed(n)).flatten(1)
        for state in torch.cartesian_prod(torch.arange(3), torch.arange(3)):
            found = (x == state).all(1).double().mean()
            p = model.log_bound(state.expand(n, -1).unflatten(1, (1, 1, 2)), noise=keyed(n, seed=1)).exp()
            error = math.hypot((found * (1 - found) / n).sqrt(), p.std() / math.sqrt(n))
            assert abs(found - p.mean()) < 4 * error


def test_learned_dequantisation_starts_uniform_and_tightens_the_bound():
    """Two equal bits: with noise that depends on them, an affine flow can fit the joint density."""
    flow = CouplingConfig(transforms=2, hidden=(16,))
    learned = DequantisedConfig(flow=flow, noise=VariationalDequantiserConfig(transforms=2, hidden=(16,)))
    space, found = Vector(dim=2, support=Binary()), {}
    bits = (torch.arange(512) % 2).float()[:, None].expand(512, 2)
    for name, config in {"uniform": DequantisedConfig(flow=flow), "learned": learned}.items():
        torch.manual_seed(3)
        model = config.build(space)
        objective = model.stages()[0].players[0].objective
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        batch = Batch(bits, None, torch.arange(512))
        for step in range(150):
            optimizer.zero_grad()
            losses = objective(batch, KeyedNoise(0, batch.index, step=step)).losses
            if step == 0:
                found[name, "start"] = losses.mean().item()
            losses.mean().backward()
            optimizer.step()
        found[name, "end"] = losses.mean().item()
    # the same draws of u: the flows differ in their random permutations alone, which two equal bits do not see
    assert abs(found["learned", "start"] - found["uniform", "start"]) < 0.05
    assert found["learned", "end"] < found["uniform", "end"] - 0.02
    assert found["learned", "end"] > math.log(2) / 2


def test_levels_at_the_ends_stay_finite_in_single_precision():
    model = UNIFORM.build(Vector(dim=2, support=Levels(count=256)))
    x = torch.tensor([[0, 255]]).expand(4096, 2)
    noise = KeyedNoise(0, torch.arange(4096))
    assert model.log_bound(x, noise=noise).isfinite().all()


@pytest.mark.parametrize(
    ("config", "space", "sentence"),
    [
        (DequantisedConfig(flow=GANConfig.example()), Vector(dim=2, support=Binary()), '"gan" is no flow'),
        (UNIFORM, Vector(dim=2), "takes a vector, field or sequence of levels or binary support"),
        (PLUS.model_copy(update={"heads": 3}), PIXELS, "3 heads do not divide a width of 4"),
        (PLUS, Field(channels=1, grid=(3, 3), support=Levels(count=3)), "a level halves the axes that are even"),
    ],
)
def test_impossible_models_are_refused(config, space, sentence):
    with pytest.raises(ConfigError, match=sentence):
        config.build(space)
