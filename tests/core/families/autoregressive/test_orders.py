"""Mixtures over orders: their density, their samples, and the bound that they are trained on."""

import pytest
import torch
from maquette.core.capabilities import capabilities
from maquette.core.data import Batch
from maquette.core.families.autoregressive.fvsbn import FVSBNConfig
from maquette.core.families.autoregressive.made import MADEConfig
from maquette.core.families.autoregressive.nade import NADEConfig
from maquette.core.spaces import Binary, Vector
from maquette.core.testing.bench import draw, keyed, shaken

MIXTURES = {
    "nade-orders": NADEConfig(hidden=(8, 6), orders=3),
    "made-orders": MADEConfig(hidden=(16, 16), masks=3, order="random", direct=True),
    "made-masks": MADEConfig(hidden=(16,), masks=3),
}
SINGLE = {
    "fvsbn": FVSBNConfig(),
    "nade": NADEConfig(hidden=(8,)),
    "nade-deep": NADEConfig(hidden=(8, 6)),
    "made": MADEConfig(hidden=(16,)),
    "made-direct": MADEConfig(hidden=(16, 16), direct=True),
}


@pytest.mark.parametrize("name", [*SINGLE, *MIXTURES])
def test_a_mixture_over_orders_has_no_conditionals(name):
    model = (SINGLE | MIXTURES)[name].build(Vector(dim=3))
    assert ("conditionals" in capabilities(model)) == (name not in MIXTURES)


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
    model, x = shaken(MIXTURES["made-orders"], space, None), draw(space, 50, 1)
    chosen = (3 * keyed(50).uniform("member")).long()
    losses = model.stages()[0].players[0].objective(Batch(x, None, torch.arange(50)), keyed(50)).losses
    members = torch.stack([-model.member(m).log_prob(x) / 6 for m in range(3)])
    torch.testing.assert_close(losses, members.gather(0, chosen[None])[0])
    assert (members.mean(0) >= -model.log_prob(x) / 6).all()
