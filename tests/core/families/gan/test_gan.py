"""The five losses against their formulas, and what keeps each critic smooth."""

import pytest
import torch
from maquette.core.context import NO_CONTEXT, Context
from maquette.core.data import Batch
from maquette.core.families.gan.gan import Critic, GANConfig
from maquette.core.families.gan.losses import (
    AdversarialLoss,
    Hinge,
    LeastSquares,
    NonSaturating,
    Wasserstein,
    WassersteinGP,
    squared_gradient_norm,
)
from maquette.core.nets.mlp import MLPConfig
from maquette.core.nets.residual import ResidualConfig
from maquette.core.nets.streams import StreamsConfig
from maquette.core.nets.transformer import PatchTransformerConfig
from maquette.core.spaces import Field, Product, Vector
from maquette.core.testing.bench import draw, keyed, shaken
from maquette.core.testing.laws.training import check_gradients, check_losses, check_purity

SMALL = ResidualConfig(width=16, depth=1)
LOSSES = [NonSaturating(), NonSaturating(r1=1.0), LeastSquares(), Hinge(), Wasserstein(), WassersteinGP()]
REAL, FAKE = torch.tensor([2.0, -0.5]), torch.tensor([0.3, -3.0])


@pytest.mark.parametrize(
    ("loss", "critic", "generator"),
    [
        (NonSaturating(), -torch.sigmoid(REAL).log() - (1 - torch.sigmoid(FAKE)).log(), -torch.sigmoid(FAKE).log()),
        (LeastSquares(), 0.5 * (REAL - 1) ** 2 + 0.5 * FAKE**2, 0.5 * (FAKE - 1) ** 2),
        (Hinge(), torch.tensor([0 + 1.3, 1.5 + 0]), -FAKE),
        (Wasserstein(), FAKE - REAL, -FAKE),
        (WassersteinGP(), FAKE - REAL, -FAKE),
    ],
)
def test_formulas(loss, critic, generator):
    torch.testing.assert_close(loss.critic(REAL, FAKE), critic)
    torch.testing.assert_close(loss.generator(FAKE), generator)


def test_squared_gradient_norm_of_a_known_critic():
    x = torch.randn(5, 3, dtype=torch.float64)
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    slope = squared_gradient_norm(lambda x: scale * x.square().sum(1), x)
    torch.testing.assert_close(slope, 16 * x.square().sum(1))
    (gradient,) = torch.autograd.grad(slope.sum(), scale)
    torch.testing.assert_close(gradient, 16 * x.square().sum())


def test_penalties():
    def score(x):
        return 3 * x[:, 0]

    real, fake = torch.zeros(4, 2), torch.ones(4, 2)
    noise = keyed(4, dtype=torch.float32)
    torch.testing.assert_close(WassersteinGP(weight=10).penalty(score, real, fake, noise), torch.full((4,), 40.0))
    torch.testing.assert_close(NonSaturating(r1=2.0).penalty(score, real, fake, noise), torch.full((4,), 9.0))
    assert all(loss.penalty(score, real, fake, noise) is None for loss in LOSSES if not loss.has_penalty)


def test_the_penalty_is_computed_between_real_and_generated_samples():
    seen = []

    def score(x):
        seen.append(x.detach())
        return x.sum(1)

    real, fake = torch.zeros(100, 2), torch.ones(100, 2)
    WassersteinGP().penalty(score, real, fake, keyed(100, dtype=torch.float32))
    assert (seen[0][:, 0] == seen[0][:, 1]).all()
    assert 0 < seen[0].min() < 0.1 < 0.9 < seen[0].max() < 1


@pytest.mark.parametrize("spectral_norm", [False, True])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.kind)
def test_every_loss_keeps_the_laws_of_training(loss, spectral_norm):
    config = GANConfig(generator=SMALL, critic=SMALL, loss=loss, spectral_norm=spectral_norm)
    for check in (check_purity, check_losses):
        check(config, Vector(dim=5), Vector(dim=2))


@pytest.mark.parametrize("loss", [NonSaturating(), NonSaturating(r1=1.0), LeastSquares()])
def test_every_parameter_gets_a_gradient(loss):
    # not so where losses are differences of scores: a constant added to all of them cancels
    config = GANConfig(generator=SMALL, critic=SMALL, loss=loss)
    check_gradients(config, Vector(dim=5), Vector(dim=2))


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.kind)
def test_double_backward_is_declared(loss):
    critic, generator = GANConfig(generator=SMALL, critic=SMALL, loss=loss).build(Vector(dim=2)).stages()[0].players
    assert critic.objective.double_backward == (loss in (NonSaturating(r1=1.0), WassersteinGP()))
    assert not generator.objective.double_backward


@pytest.mark.parametrize(
    "body", [StreamsConfig(channels=2, depth=1, width=8), PatchTransformerConfig(patch=(2, 2), width=12)]
)
def test_every_backbone_supports_the_gradient_penalty(body):
    space = Product(parts={"a": Field(channels=1, grid=(2, 4)), "b": Field(channels=1, grid=(4, 2))})
    config = GANConfig(generator=body, critic=body, loss=NonSaturating(r1=1.0))
    check_gradients(config, space, Vector(dim=1))


def test_wasserstein_clips_after_each_step_and_the_loss_does_not():
    model = shaken(GANConfig(generator=SMALL, critic=SMALL, loss=Wasserstein(clip=0.05)), Vector(dim=2), None)
    critic, generator = model.stages()[0].players
    before = [parameter.clone() for parameter in model.generator.parameters()]
    assert max(p.abs().max() for p in model.critic.parameters()) > 0.05
    generator.objective.update({})
    assert max(p.abs().max() for p in model.critic.parameters()) > 0.05
    critic.objective.update({})
    assert max(p.abs().max() for p in model.critic.parameters()) <= 0.05
    assert all(torch.equal(a, b) for a, b in zip(before, model.generator.parameters(), strict=True))


def test_only_clipping_losses_clip():
    model = shaken(GANConfig(generator=SMALL, critic=SMALL, loss=Hinge()), Vector(dim=2), None)
    before = [parameter.clone() for parameter in model.critic.parameters()]
    model.stages()[0].players[0].objective.update({})
    assert all(torch.equal(a, b) for a, b in zip(before, model.critic.parameters(), strict=True))


def test_only_the_critic_has_spectral_normalisation():
    model = GANConfig(generator=SMALL, critic=SMALL, spectral_norm=True).build(Vector(dim=2))
    assert all("parametrizations" not in name for name, _ in model.generator.named_parameters())
    assert sum("original" in name for name, _ in model.critic.named_parameters()) == sum(
        isinstance(module, torch.nn.Linear) for module in model.critic.modules()
    )


def test_minibatch_std_couples_the_samples_of_a_batch():
    config = GANConfig(generator=SMALL, critic=SMALL, minibatch_std=True)
    model = shaken(config, Vector(dim=2), None)
    assert all(player.objective.coupled for player in model.stages()[0].players)
    assert isinstance(model.critic, Critic)
    x = draw(Vector(dim=2), 6, seed=0)
    assert not torch.allclose(model.critic(x, NO_CONTEXT)[:2], model.critic(x[:2], NO_CONTEXT))
    check_gradients(config, Vector(dim=2), None)
    check_purity(config, Vector(dim=2), None)


def test_the_critics_loss_gives_the_generator_no_gradient():
    model = shaken(GANConfig.example(), Vector(dim=2), None)
    batch = Batch(draw(Vector(dim=2), 4, 0), None, torch.arange(4))
    model.stages()[0].players[0].objective(batch, keyed(4)).losses.sum().backward()
    assert all(parameter.grad is None for parameter in model.generator.parameters())


@pytest.mark.parametrize("loss", [WassersteinGP(weight=7.0), NonSaturating(r1=7.0)], ids=lambda loss: loss.kind)
def test_the_penalty_is_that_of_the_critic_at_the_condition_of_each_sample(loss):
    model = shaken(GANConfig(generator=SMALL, critic=SMALL, loss=loss), Vector(dim=2), Vector(dim=1), scale=0.5)
    real, c, noise = draw(Vector(dim=2), 6, 0), draw(Vector(dim=1), 6, 1), keyed(6)
    losses = model.stages()[0].players[0].objective(Batch(real, c, torch.arange(6)), noise)
    x = real
    if isinstance(loss, WassersteinGP):
        fake = model.generator(noise.normal("prior", (2,)), None, Context(c))
        x = torch.lerp(fake, real, noise.uniform("between", (1,)))
    x = x.detach().requires_grad_()

    def penalty(c):
        (gradient,) = torch.autograd.grad(model.critic(x, Context(c)).sum(), x)
        norm = gradient.norm(dim=1)
        return 7 * (norm - 1) ** 2 if isinstance(loss, WassersteinGP) else 3.5 * norm**2

    torch.testing.assert_close(losses.metrics["penalty"], penalty(c))
    assert not torch.allclose(penalty(c), penalty(torch.zeros_like(c)), rtol=0.01)


def test_small_gradients_are_penalised_as_large_ones():
    """The penalty of WGAN-GP is two-sided: 10 (0.5 - 1)^2 = 10 (1.5 - 1)^2 = 2.5."""
    x, noise = torch.zeros(3, 2), keyed(3, dtype=torch.float32)
    for slope in (0.5, 1.5):
        found = WassersteinGP(weight=10).penalty(lambda x, slope=slope: slope * x[:, 0], x, x, noise)
        torch.testing.assert_close(found, torch.full((3,), 2.5))


def test_an_adversarial_loss_without_a_critic_cannot_be_built():
    class Half(AdversarialLoss):
        kind: str = "half"

    with pytest.raises(TypeError, match=r"abstract method.* critic"):
        Half()


def test_it_learns_the_mean_and_width_of_a_condition(train):
    """Means within 0.25 and standard deviations within 50% of those of N(c, 0.5^2)."""
    config = GANConfig(
        generator=MLPConfig(hidden=(32, 32)), critic=MLPConfig(hidden=(32, 32)), loss=NonSaturating(r1=0.3)
    )
    model, generator = config.build(Vector(dim=1), Vector(dim=1)), torch.Generator().manual_seed(1)

    def batch(number):
        c = torch.randn(128, 1, generator=generator)
        return Batch(0.5 * torch.randn(128, 1, generator=generator) + c, c, torch.arange(128))

    train(model.stages()[0], batch, steps=500, lr=2e-3, betas=(0.0, 0.99))
    for mean in (-1.0, 1.0):
        with torch.no_grad():
            x = model.sample(2000, torch.full((2000, 1), mean), noise=keyed(2000, dtype=torch.float32))
        assert x.mean() == pytest.approx(mean, abs=0.25)
        assert x.std() == pytest.approx(0.5, rel=0.5)
