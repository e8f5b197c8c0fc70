"""FVSBN, NADE and MADE: normalisation, the recursions of the papers, and mixtures over orders."""

import itertools
import math

import pytest
import torch
from maquette.core.capabilities import capabilities
from maquette.core.data import Batch
from maquette.core.errors import ConfigError
from maquette.core.families.autoregressive.fvsbn import FVSBNConfig
from maquette.core.families.autoregressive.made import MADEConfig
from maquette.core.families.autoregressive.nade import NADEConfig
from maquette.core.likelihoods.gaussian import GaussianMixtureConfig
from maquette.core.spaces import Binary, Field, Interval, Levels, Product, Real, Vector
from maquette.core.testing.bench import draw, keyed, shaken
from maquette.core.testing.laws import LAWS, applicable

VARIANTS = {
    "fvsbn": FVSBNConfig(),
    "nade": NADEConfig(hidden=(8,)),
    "nade-deep": NADEConfig(hidden=(8, 6)),
    "nade-orders": NADEConfig(hidden=(8, 6), orders=3),
    "made": MADEConfig(hidden=(16,)),
    "made-direct": MADEConfig(hidden=(16, 16), direct=True),
    "made-orders": MADEConfig(hidden=(16, 16), masks=3, order="random", direct=True),
    "made-masks": MADEConfig(hidden=(16,), masks=3),
}
MIXTURES = {name: VARIANTS[name] for name in ("nade-orders", "made-orders", "made-masks")}
SPACES = [
    (Vector(dim=4, support=Binary()), Vector(dim=2)),
    (Field(channels=2, grid=(2, 2), support=Levels(count=3)), None),
    (Product(parts={"a": Vector(dim=1), "b": Field(channels=1, grid=(2, 2))}), Vector(dim=1, support=Levels(count=3))),
    (Vector(dim=2, support=Interval()), Vector(dim=1)),
]


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("condition", [None, Vector(dim=2)], ids=["alone", "conditional"])
def test_masses_of_1024_states_sum_to_one(name, condition):
    space = Vector(dim=10, support=Binary())
    model = shaken(VARIANTS[name], space, condition)
    states = torch.tensor(list(itertools.product((0.0, 1.0), repeat=10)), dtype=torch.float64)
    c = None if condition is None else torch.tensor([[0.3, -1.0]], dtype=torch.float64).expand(len(states), -1)
    with torch.no_grad():
        assert model.log_prob(states, c).exp().sum().item() == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in ("fvsbn", "nade", "made")])
@pytest.mark.parametrize("case", range(len(SPACES)))
def test_every_variant_keeps_the_laws(name, case):
    for law in applicable(VARIANTS[name], *SPACES[case]):
        LAWS[law].check(VARIANTS[name], *SPACES[case])


# --- the papers' own recursions -----------------------------------------------------------------------


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


@pytest.mark.parametrize("direct", [False, True])
def test_the_jacobian_of_made_is_strictly_triangular_in_its_order(direct):
    model = shaken(MADEConfig(hidden=(32, 32), order="random", direct=direct), Vector(dim=6), None)
    x = draw(Vector(dim=6), 1, 1)
    jacobian = torch.autograd.functional.jacobian(lambda row: model.conditionals(row)[0, :, 1], x)[:, 0]
    ordered = jacobian[model.order][:, model.order]
    assert torch.equal(ordered.triu(), torch.zeros(6, 6, dtype=torch.float64))
    below = torch.ones(6, 6).tril(-1).bool()
    assert (ordered[below] != 0).all(), "some feature does not see all before it"


# --- mixtures over orders -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_a_mixture_over_orders_has_no_conditionals(name):
    assert ("conditionals" in capabilities(VARIANTS[name].build(Vector(dim=3)))) == (name not in MIXTURES)


@pytest.mark.parametrize("name", MIXTURES)
def test_the_density_is_the_mean_over_members(name):
    space = Vector(dim=6, support=Binary())
    model, x = shaken(MIXTURES[name], space, None), draw(space, 8, 1)
    members = torch.stack([model.member(m).log_prob(x) for m in range(3)])
    torch.testing.assert_close(model.log_prob(x), members.exp().mean(0).log())
    assert not torch.allclose(members[0], members[1])
    assert not torch.allclose(members[0], members[2])


@pytest.mark.parametrize("name", MIXTURES)
def test_each_sample_is_drawn_by_a_random_member(name):
    model, n = shaken(MIXTURES[name], Vector(dim=6, support=Binary()), None), 300
    with torch.no_grad():
        x = model.sample(n, noise=keyed(n))
        chosen = (3 * keyed(n).uniform("member")).long()
        for m in range(3):
            own = model.member(m).sample(n, noise=keyed(n))
            assert torch.equal(x[chosen == m], own[chosen == m])
            assert (chosen == m).sum() > n / 6


def test_the_loss_of_random_members_is_above_that_of_the_mixture():
    space = Vector(dim=6, support=Binary())
    model, x = shaken(VARIANTS["made-orders"], space, None), draw(space, 50, 1)
    chosen = (3 * keyed(50).uniform("member")).long()
    losses = model.stages()[0].players[0].objective(Batch(x, None, torch.arange(50)), keyed(50)).losses
    members = torch.stack([-model.member(m).log_prob(x) / 6 for m in range(3)])
    torch.testing.assert_close(losses, members.gather(0, chosen[None])[0])
    assert (members.mean(0) >= -model.log_prob(x) / 6).all()


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


# --- what they learn, and what they refuse --------------------------------------------------------------


@pytest.mark.parametrize(("name", "learns"), [("fvsbn", False), ("nade", True), ("made", True), ("nade-orders", True)])
def test_hidden_units_are_needed_to_learn_a_parity(name, learns):
    """Two fair coins and whether they agree: log 4 nats; no generalised linear model finds the third conditional."""
    x = torch.tensor([[0, 0, 1], [0, 1, 0], [1, 0, 0], [1, 1, 1]], dtype=torch.float32).repeat(16, 1)
    torch.manual_seed(1)
    model = VARIANTS[name].build(Vector(dim=3, support=Binary()))
    objective, optimizer = model.stages()[0].players[0].objective, torch.optim.Adam(model.parameters(), 0.05)
    for step in range(250):
        optimizer.zero_grad()
        noise = keyed(len(x), seed=step, dtype=torch.float32)
        objective(Batch(x, None, torch.arange(len(x))), noise).losses.mean().backward()
        optimizer.step()
    nats = -model.log_prob(x).mean().item()
    assert nats == pytest.approx(math.log(4 if learns else 8), abs=0.1)


@pytest.mark.parametrize(
    ("config", "space", "sentence"),
    [
        (NADEConfig(orders=4), Vector(dim=1), "nade: 4 orders need at least 2 features per sample, found 1"),
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
