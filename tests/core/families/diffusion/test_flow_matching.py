"""Flow matching: its best velocity, its training times, and what it learns."""

import math

import pytest
import torch
from maquette.core.data import Batch
from maquette.core.families.diffusion.flow_matching import FlowMatchingConfig
from maquette.core.nets.residual import ResidualConfig
from maquette.core.spaces import Vector
from maquette.core.testing.bench import draw, keyed, shaken

SMALL = ResidualConfig(width=16, depth=1)


def best_velocity(scale):
    """E[x - z | x_t] for x ~ N(0, scale^2), z ~ N(0, 1)."""
    return lambda x, t, context: (t * scale**2 - (1 - t)) / (t**2 * scale**2 + (1 - t) ** 2) * x


@pytest.mark.parametrize("method", ["euler", "midpoint", "heun", "rk4", "dopri5"])
def test_the_conditional_mean_as_velocity_samples_the_data(method, function):
    model = shaken(FlowMatchingConfig(network=SMALL, sampler={"method": method, "steps": 100}), Vector(dim=1), None)
    model.network = function(best_velocity(0.3))
    x = model.sample(50, noise=keyed(50))
    z = keyed(50).normal("prior", (1,))
    torch.testing.assert_close(x, 0.3 * z, rtol=0.05 if method == "euler" else 1e-3, atol=1e-4)
    expected = torch.distributions.Normal(0.0, 0.3).log_prob(x[:, 0])
    torch.testing.assert_close(model.log_prob(x), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("times", ["uniform", "logit-normal"])
def test_no_velocity_has_a_lower_loss_than_the_conditional_mean(times, function):
    model = shaken(FlowMatchingConfig(network=SMALL, times=times), Vector(dim=1), None)
    objective = model.stages()[0].players[0].objective
    batch = Batch(0.3 * draw(Vector(dim=1), 4000, 0), None, torch.arange(4000))

    def loss(velocity):
        model.network = function(velocity)
        return objective(batch, keyed(4000)).losses.mean()

    best = best_velocity(0.3)
    others = (lambda x, t, c: best(x, t, c) + 0.2, lambda x, t, c: 0.8 * best(x, t, c))
    assert loss(best) < min(loss(other) for other in others)


def test_logit_normal_times_avoid_the_ends():
    draws = {}
    for times in ("uniform", "logit-normal"):
        model = shaken(FlowMatchingConfig(network=SMALL, times=times), Vector(dim=1), None)
        draws[times] = model.stages()[0].players[0].objective._times(keyed(4000))
    assert all(t.min() > 0 and t.max() < 1 for t in draws.values())
    assert draws["uniform"].std() == pytest.approx(math.sqrt(1 / 12), rel=0.05)
    assert draws["logit-normal"].std() == pytest.approx(0.208, rel=0.05)


def test_it_learns_two_clusters(train, clusters):
    """Within 0.05 nats of the density of the data, where a single normal distribution is 0.94 off."""
    model = FlowMatchingConfig(network=ResidualConfig(width=32, depth=1), precision=1e-4).build(Vector(dim=1))
    train(model.stages()[0], lambda number: clusters.batch(256, number), steps=500, lr=5e-3)
    x = clusters.draw(500, seed=10**6)
    with torch.no_grad():
        gap = (clusters.log_prob(x) - model.log_prob(x)).mean()
    assert gap < 0.05
