"""NADE: the recursion of the paper, and training for all orders at once."""

import itertools
import math

import pytest
import torch
from maquette.core.data import Batch
from maquette.core.errors import ConfigError
from maquette.core.families.autoregressive.nade import NADEConfig
from maquette.core.likelihoods.gaussian import GaussianMixtureConfig
from maquette.core.spaces import Binary, Product, Real, Vector
from maquette.core.testing.bench import draw, keyed, shaken

VARIANTS = {
    "nade": NADEConfig(hidden=(8,)),
    "nade-deep": NADEConfig(hidden=(8, 6)),
    "nade-orders": NADEConfig(hidden=(8, 6), orders=3),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_masses_of_1024_states_sum_to_one(name, total_mass):
    assert total_mass(VARIANTS[name]) == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("name", ["nade-deep", "nade-orders"])
def test_every_variant_keeps_the_laws(name, check_laws):
    check_laws(VARIANTS[name])


def test_nade_is_the_recursion_of_the_paper():
    space = Vector(dim=5, support=Binary())
    model = shaken(NADEConfig(hidden=(7,)), space, Vector(dim=2))
    network, x, c = model.network, draw(space, 3, 1), draw(Vector(dim=2), 3, 2)
    expected = torch.zeros(3, dtype=torch.float64)
    a = network.bias + c @ network.context_proj.weight.T
    for i in range(5):
        p = torch.sigmoid(torch.sigmoid(a) @ network.output_weight[i, :, 0] + network.output_bias[i, 0])
        expected += torch.where(x[:, i] == 1, p, 1 - p).log()
        if i < 4:
            a = a + x[:, i, None] * network.weight[i]
    torch.testing.assert_close(model.log_prob(x, c), expected)


def test_real_nade_with_mixtures():
    """RNADE: a mixture of Gaussians for each feature, whose parameters are linear in the hidden units."""
    config = NADEConfig(hidden=(7,), likelihood=GaussianMixtureConfig(components=3))
    model, x = shaken(config, Vector(dim=3), None), draw(Vector(dim=3), 4, 1)
    parameters = model.conditionals(x)
    assert parameters.shape == (4, 3, 9)
    torch.testing.assert_close(model.log_prob(x), model.likelihood.log_prob(parameters, x).sum(1))


def test_order_agnostic_training_scores_all_orders_alike():
    """For 3 features there are 6 orders; a sample's loss is its score in one of them, each as often as the others."""
    space, n = Vector(dim=3, support=Binary()), 3000
    model = shaken(NADEConfig(hidden=(8,), orders=2), space, None)
    x = torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64).expand(n, -1)
    losses = model.stages()[0].players[0].objective(Batch(x, None, torch.arange(n)), keyed(n)).losses.detach()
    model.network.orders = torch.tensor(list(itertools.permutations(range(3))))
    each = torch.stack([-model.member(m).log_prob(x[:1]) / 3 for m in range(6)])
    hits = (losses - each).abs() < 1e-12
    assert hits.any(0).all()
    assert (hits.double().mean(1) - 1 / 6).abs().max() < 4 * math.sqrt(5 / 36 / n)


@pytest.mark.parametrize("name", ["nade", "nade-orders"])
def test_hidden_units_learn_a_parity(name, nats_on_parity):
    assert nats_on_parity(VARIANTS[name]) == pytest.approx(math.log(4), abs=0.1)


@pytest.mark.parametrize(
    ("config", "space", "sentence"),
    [
        (NADEConfig(orders=4), Vector(dim=1), "nade: 4 orders need at least 2 features per sample, found 1"),
        (
            NADEConfig(),
            Product(parts={"a": Vector(dim=1, support=Real()), "b": Vector(dim=1, support=Binary())}),
            "takes parts of one support",
        ),
    ],
)
def test_impossible_models_are_refused(config, space, sentence):
    with pytest.raises(ConfigError, match=sentence):
        config.build(space)
