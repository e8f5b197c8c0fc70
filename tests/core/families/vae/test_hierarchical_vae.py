"""Latent groups from coarse to fine: what the passes share, what a group costs, and where it lies."""

import math

import pytest
import torch
from maquette.core.data import Batch
from maquette.core.errors import ConfigError, SpaceError
from maquette.core.families.vae.elbo import ELBOConfig
from maquette.core.families.vae.hierarchical import HierarchicalVAEConfig, Level
from maquette.core.spaces import Binary, Field, Vector
from maquette.core.testing.bench import draw, keyed, shaken
from maquette.core.testing.laws.sampling import check_sample
from maquette.core.testing.laws.training import check_gradients, check_losses

LEVELS = (Level(stride=2, groups=2, latent=1), Level(stride=2, latent=3))
SMALL = HierarchicalVAEConfig(levels=LEVELS, channels=6)
IMAGE, CONDITION = Field(channels=2, grid=(4, 8), periodic=(True, False), support=Binary()), Vector(dim=2)


def test_groups_lie_on_their_grids_coarse_to_fine():
    model = shaken(SMALL, IMAGE, CONDITION)
    assert model.ladder.shapes == [(3, 1, 2), (1, 2, 4), (1, 2, 4)]
    assert model.ladder.latent == 6 + 8 + 8
    evidence = model.elbo(draw(IMAGE, 3, 1), draw(CONDITION, 3, 2), noise=keyed(3))
    assert list(evidence.divergence) == ["divergence/0", "divergence/1", "divergence/2"]


def test_it_starts_with_a_posterior_that_is_the_prior():
    model = SMALL.build(IMAGE).double()
    x = draw(IMAGE, 5, 1)
    evidence = model.elbo(x, noise=keyed(5))
    assert all((terms == 0).all() for terms in evidence.divergence.values())
    assert torch.equal(evidence.bound, model.log_bound(x, noise=keyed(5)))


def test_the_divergence_is_the_mean_of_the_log_ratio():
    model, n = shaken(SMALL, IMAGE, CONDITION, scale=0.2), 2000
    x, c = (draw(space, 1, 1).expand(n, *space.shape) for space in (IMAGE, CONDITION))
    evidence = model.elbo(x, c, noise=keyed(n))
    away = model.log_bound(x, c, noise=keyed(n)) - evidence.bound
    assert evidence.divergence["divergence/0"].mean() > 0.01
    assert away.mean().abs() < 4 * away.std() / math.sqrt(n)


def test_codes_decode_to_what_their_pass_saw():
    model = shaken(SMALL, IMAGE, CONDITION, scale=0.3)
    x, c = draw(IMAGE, 4, 1), draw(CONDITION, 4, 2)
    z = model.encode(x, c)
    assert z.shape == (4, model.ladder.latent)
    seen = model.observed.mean(model.infer(x, c, torch.zeros_like(z)).parameters)
    assert torch.equal(model.decode(z, c), seen)
    assert not torch.allclose(model.decode(0 * z, c), seen)
    with pytest.raises(SpaceError, match=r"z: expected shape \(B, 22\), found \(4, 21\)"):
        model.decode(z[:, 1:], c)


@pytest.mark.parametrize(
    "space", [IMAGE, Field(channels=1, grid=(8,)), Field(channels=1, grid=(4, 4, 4)), Vector(dim=3)]
)
def test_fields_of_any_number_of_axes(space):
    for check in (check_sample, check_gradients, check_losses):
        check(SMALL, space, CONDITION)


def test_a_convolutional_bound_is_honest():
    """The law of bounds, nearer to the start: far from it, weights are too heavy-tailed for their error to be seen."""
    config, space, n = SMALL.model_copy(update={"levels": LEVELS[:1]}), Field(channels=1, grid=(2, 2)), 2000
    space = space.model_copy(update={"support": Binary()})
    model, c = shaken(config, space, CONDITION, scale=0.05), draw(CONDITION, 1, 2).expand(n, 2)
    states = torch.cartesian_prod(*4 * [torch.arange(2.0, dtype=torch.float64)]).view(-1, 1, 2, 2)
    with torch.no_grad():
        weights = [
            model.log_bound(state.expand(n, 1, 2, 2), c, noise=keyed(n, seed=k)).exp() for k, state in enumerate(states)
        ]
    total, variance = sum(w.mean() for w in weights), sum(w.var() / n for w in weights)
    assert variance > 0
    assert (total - 1).abs() < 4 * variance.sqrt() < 0.2


def test_roughness_has_its_price():
    batch = Batch(draw(IMAGE, 3, 1), None, torch.arange(3))
    model = shaken(SMALL.model_copy(update={"spectral": 2.0}), IMAGE, None)
    losses = model.stages()[0].players[0].objective(batch, keyed(3)).losses
    price = (64 * losses + model.elbo(batch.x, noise=keyed(3)).bound) / 2
    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d)]
    roughness = sum(torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2) for layer in layers)
    torch.testing.assert_close(price, roughness.expand(3), rtol=0.05, atol=0)
    assert (price <= roughness).all()


def test_free_bits_count_by_group():
    config = SMALL.model_copy(update={"loss": ELBOConfig(free_nats=1.0)})
    model = SMALL.build(IMAGE).double()
    objective = shaken(config, IMAGE, None).stages()[0].players[0].objective
    objective.model = model  # every group of the fresh one costs nothing
    batch = Batch(draw(IMAGE, 3, 1), None, torch.arange(3))
    first = objective(batch, keyed(3))
    objective.update(first.statistics)
    second = objective(batch, keyed(3))
    torch.testing.assert_close((second.losses - first.losses) * 64, torch.full((3,), 3.0, dtype=torch.float64))


def test_the_loss_is_the_bound_from_the_first_step_on():
    """At first no group diverges at all, which must not leave the divergence out of the next step."""
    model = HierarchicalVAEConfig().build(IMAGE).double()
    objective = model.stages()[0].players[0].objective
    batch = Batch(draw(IMAGE, 8, 1), None, torch.arange(8))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for step in range(3):
        out = objective(batch, keyed(8, seed=step))
        torch.testing.assert_close(64 * out.losses, -model.elbo(batch.x, noise=keyed(8, seed=step)).bound)
        optimizer.zero_grad()
        out.losses.mean().backward()
        optimizer.step()
        objective.update(out.statistics)
    assert (objective.mean > 0).all()


def test_a_stride_that_does_not_divide_is_refused():
    with pytest.raises(ConfigError, match=r"levels.stride: a stride of 2 does not divide a grid of \[7, 7\]"):
        HierarchicalVAEConfig().build(Field(channels=1, grid=(14, 14)))


def test_a_level_may_be_a_step_in_resolution_alone():
    config = SMALL.model_copy(update={"levels": (Level(stride=2, groups=0), Level(stride=2, latent=2))})
    model = shaken(config, IMAGE, None)
    assert model.ladder.shapes == [(2, 1, 2)]
    check_gradients(config, IMAGE, CONDITION)
    with pytest.raises(ConfigError, match="no level has groups"):
        SMALL.model_copy(update={"levels": (Level(groups=0),)}).build(IMAGE)


def test_it_compiles_as_one_graph():
    torch._dynamo.reset()
    model, x, c = shaken(SMALL, IMAGE, CONDITION), draw(IMAGE, 3, 1), draw(CONDITION, 3, 2)
    expected = model.elbo(x, c, noise=keyed(3)).bound
    model.ladder.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(model.elbo(x, c, noise=keyed(3)).bound, expected)


def test_it_learns_what_pixels_have_in_common():
    """Images that are all on or all off but for a few: far below the entropy of independent pixels."""
    torch.manual_seed(0)
    space, n = Field(channels=1, grid=(4, 4), support=Binary()), 128
    config = HierarchicalVAEConfig(levels=(Level(latent=1), Level(latent=1)), channels=12)
    model = config.build(space)
    objective = model.stages()[0].players[0].objective
    generator = torch.Generator().manual_seed(1)

    def batch():
        on = torch.rand(n, 1, 1, 1, generator=generator) < 0.5
        flipped = torch.rand(n, *space.shape, generator=generator) < 0.05
        return Batch((on ^ flipped).float(), None, torch.arange(n))

    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for step in range(80):
        optimizer.zero_grad()
        objective(batch(), keyed(n, seed=step, dtype=torch.float32)).losses.mean().backward()
        optimizer.step()
    bound = model.log_bound(batch().x, noise=keyed(n, dtype=torch.float32)).mean().item()
    entropy = math.log(2) - 16 * (0.05 * math.log(0.05) + 0.95 * math.log(0.95))
    assert -0.6 * 16 * math.log(2) < bound < -entropy + 0.6
