"""MADE: masks that make each output depend only on the features before its own."""

import math

import pytest
import torch
from maquette.core.errors import ConfigError
from maquette.core.families.autoregressive.made import MADEConfig
from maquette.core.likelihoods.gaussian import GaussianMixtureConfig
from maquette.core.spaces import Binary, Vector
from maquette.core.testing.bench import draw, shaken

VARIANTS = {
    "made": MADEConfig(hidden=(16,)),
    "made-direct": MADEConfig(hidden=(16, 16), direct=True),
    "made-orders": MADEConfig(hidden=(16, 16), masks=3, order="random", direct=True),
    "made-masks": MADEConfig(hidden=(16,), masks=3),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_masses_of_1024_states_sum_to_one(name, total_mass):
    assert total_mass(VARIANTS[name]) == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("name", ["made-direct", "made-orders", "made-masks"])
def test_every_variant_keeps_the_laws(name, check_laws):
    check_laws(VARIANTS[name])


@pytest.mark.parametrize("direct", [False, True])
def test_the_jacobian_of_made_is_strictly_triangular_in_its_order(direct):
    model = shaken(MADEConfig(hidden=(32, 32), order="random", direct=direct), Vector(dim=6), None)
    x = draw(Vector(dim=6), 1, 1)
    jacobian = torch.autograd.functional.jacobian(lambda row: model.conditionals(row)[0, :, 1], x)[:, 0]
    ordered = jacobian[model.order][:, model.order]
    assert torch.equal(ordered.triu(), torch.zeros(6, 6, dtype=torch.float64))
    below = torch.ones(6, 6).tril(-1).bool()
    assert (ordered[below] != 0).all(), "some feature does not see all before it"


def test_hidden_units_learn_a_parity(nats_on_parity):
    assert nats_on_parity(VARIANTS["made"]) == pytest.approx(math.log(4), abs=0.1)


@pytest.mark.parametrize(
    ("config", "space", "sentence"),
    [
        (
            MADEConfig(),
            Vector(dim=1),
            "made: one feature without a condition leaves the network without inputs; use fvsbn",
        ),
        (
            MADEConfig(likelihood=GaussianMixtureConfig()),
            Vector(dim=3, support=Binary()),
            "gaussian-mixture: a distribution of real values, found binary ones",
        ),
    ],
)
def test_impossible_models_are_refused(config, space, sentence):
    with pytest.raises(ConfigError, match=sentence):
        config.build(space)
