"""Groups of latent variables: their grids, their KL, and what they learn."""

import math

import pytest
import torch
from maquette.core.data import Batch
from maquette.core.errors import ConfigError, SpaceError
from maquette.core.families.vae.elbo import ELBOConfig
from maquette.core.families.vae.hierarchical import HierarchicalVAEConfig, Level
from maquette.core.spaces import Binary, Field, Vector
from maquette.core.testing.bench import draw, fit, keyed, shaken
from maquette.core.testing.laws.sampling import check_sample
from maquette.core.testing.laws.training import check_gradients, check_losses

LEVELS = (Level(stride=2, groups=2, latent=1), Level(stride=2, latent=3))
SMALL = HierarchicalVAEConfig(levels=LEVELS, channels=6)
IMAGE, CONDITION = Field(channels=2, grid=(4, 8), periodic=(True, False), support=Binary()), Vector(dim=2)


def test_groups_lie_on_their_grids_coarse_to_fine():
    model = shaken(SMALL, IMAGE, CONDITION)
    assert model.network.shapes == [(3, 1, 2), (1, 2, 4), (1, 2, 4)]
    assert model.network.latent == 6 + 8 + 8
    elbo = model.elbo(draw(IMAGE, 3, 1), draw(CONDITION, 3, 2), noise=keyed(3))
    assert list(elbo.kl) == ["kl/0", "kl/1", "kl/2"]


def test_it_starts_with_a_posterior_that_is_the_prior():
    model = SMALL.build(IMAGE).double()
    x = draw(IMAGE, 5, 1)
    elbo = model.elbo(x, noise=keyed(5))
    assert all((terms == 0).all() for terms in elbo.kl.values())
    assert torch.equal(elbo.bound, model.log_bound(x, noise=keyed(5)))


def test_the_posterior_is_relative_to_its_prior():
    """With posterior layers at zero the posterior is the prior, wherever the other layers have moved the prior."""
    model = SMALL.build(IMAGE).double()
    untouched = {p for name, p in model.named_parameters() if ".posterior." in name}
    with torch.no_grad():
        for p in model.parameters():
            if p not in untouched:
                p.add_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    x = draw(IMAGE, 5, 1)
    assert model.encode(x).abs().min() > 1e-3
    assert all((terms == 0).all() for terms in model.elbo(x, noise=keyed(5)).kl.values())


def test_the_kl_is_the_mean_of_the_log_ratio():
    model, n = shaken(SMALL, IMAGE, CONDITION, scale=0.2), 2000
    x, c = (draw(space, 1, 1).expand(n, *space.shape) for space in (IMAGE, CONDITION))
    elbo = model.elbo(x, c, noise=keyed(n))
    away = model.log_bound(x, c, noise=keyed(n)) - elbo.bound
    assert elbo.kl["kl/0"].mean() > 0.01
    assert away.mean().abs() < 4 * away.std() / math.sqrt(n)


def test_latents_decode_to_what_their_pass_decoded():
    model = shaken(SMALL, IMAGE, CONDITION, scale=0.3)
    x, c = draw(IMAGE, 4, 1), draw(CONDITION, 4, 2)
    z = model.encode(x, c)
    assert z.shape == (4, model.network.latent)
    seen = model.observation.mean(model.infer(x, c, torch.zeros_like(z)).parameters)
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


def test_a_convolutional_bound_keeps_its_law():
    """The law of bounds near the start; further away, importance weights have too heavy tails to test it."""
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


def test_the_spectral_penalty_is_the_sum_of_singular_values():
    batch = Batch(draw(IMAGE, 3, 1), None, torch.arange(3))
    model = shaken(SMALL.model_copy(update={"spectral": 2.0}), IMAGE, None)
    losses = model.stages()[0].players[0].objective(batch, keyed(3)).losses
    penalty = (64 * losses + model.elbo(batch.x, noise=keyed(3)).bound) / 2
    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d)]
    spectral_sum = sum(torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2) for layer in layers)
    torch.testing.assert_close(penalty, spectral_sum.expand(3), rtol=0.05, atol=0)
    assert (penalty <= spectral_sum).all()


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
    """At first every KL is zero; the next step must charge the KL all the same."""
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
    assert (objective.mean_kl > 0).all()


def test_a_stride_that_does_not_divide_is_refused():
    with pytest.raises(ConfigError, match=r"levels.stride: a stride of 2 does not divide a grid of \[7, 7\]"):
        HierarchicalVAEConfig().build(Field(channels=1, grid=(14, 14)))


def test_a_level_may_change_the_resolution_alone():
    config = SMALL.model_copy(update={"levels": (Level(stride=2, groups=0), Level(stride=2, latent=2))})
    model = shaken(config, IMAGE, None)
    assert model.network.shapes == [(2, 1, 2)]
    check_gradients(config, IMAGE, CONDITION)
    with pytest.raises(ConfigError, match="no level has groups"):
        SMALL.model_copy(update={"levels": (Level(groups=0),)}).build(IMAGE)


def test_it_compiles_as_one_graph():
    torch._dynamo.reset()
    model, x, c = shaken(SMALL, IMAGE, CONDITION), draw(IMAGE, 3, 1), draw(CONDITION, 3, 2)
    expected = model.elbo(x, c, noise=keyed(3)).bound
    model.network.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(model.elbo(x, c, noise=keyed(3)).bound, expected)


def test_it_learns_what_pixels_have_in_common():
    """Images that are all on or all off but for a few: far below the entropy of independent pixels."""
    torch.manual_seed(0)
    space, n = Field(channels=1, grid=(4, 4), support=Binary()), 128
    config = HierarchicalVAEConfig(levels=(Level(latent=1), Level(latent=1)), channels=12)
    model = config.build(space)
    generator = torch.Generator().manual_seed(1)

    def batch(step):
        on = torch.rand(n, 1, 1, 1, generator=generator) < 0.5
        flipped = torch.rand(n, *space.shape, generator=generator) < 0.05
        return Batch((on ^ flipped).float(), None, torch.arange(n))

    fit(model, batch, steps=80, lr=5e-3)
    bound = model.log_bound(batch(80).x, noise=keyed(n, dtype=torch.float32)).mean().item()
    entropy = math.log(2) - 16 * (0.05 * math.log(0.05) + 0.95 * math.log(0.95))
    assert -0.6 * 16 * math.log(2) < bound < -entropy + 0.6
