"""Models that carry noise to data: their paths, their limits, and students that keep up with teachers."""

import math
from itertools import pairwise

import pytest
import torch
from maquette.core.data import Batch
from maquette.core.errors import ConfigError
from maquette.core.families.diffusion.distilled import DistilledConfig
from maquette.core.families.diffusion.edm import EDMConfig
from maquette.core.families.diffusion.flow_matching import FlowMatchingConfig
from maquette.core.families.flows.spline import SplineConfig
from maquette.core.nets.mlp import MLPConfig
from maquette.core.nets.residual import ResidualConfig
from maquette.core.noise import KeyedNoise
from maquette.core.spaces import Vector
from maquette.core.testing.bench import draw, keyed, shaken

SMALL = ResidualConfig(width=16, depth=1)


class Oracle(torch.nn.Module):
    """The best network for data N(0, scale^2): what the loss would find."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x, time, condition):
        return self.function(x, time[:, None])


# --- flow matching ------------------------------------------------------------------------------------


def oracle_velocity(scale):
    """E[x - z | x_t] for x ~ N(0, scale^2), z ~ N(0, 1)."""
    return lambda x, t: (t * scale**2 - (1 - t)) / (t**2 * scale**2 + (1 - t) ** 2) * x


@pytest.mark.parametrize("method", ["euler", "midpoint", "heun", "rk4", "dopri5"])
def test_flow_matching_with_the_best_velocity_gives_the_data_law(method):
    model = shaken(FlowMatchingConfig(network=SMALL, method=method, steps=100), Vector(dim=1), None)
    model.network = Oracle(oracle_velocity(0.3))
    x = model.sample(50, noise=keyed(50))
    z = keyed(50).normal("prior", (1,))
    torch.testing.assert_close(x, 0.3 * z, rtol=0.05 if method == "euler" else 1e-3, atol=1e-4)
    law = torch.distributions.Normal(0.0, 0.3)
    torch.testing.assert_close(model.log_prob(x), law.log_prob(x[:, 0]), rtol=0, atol=1e-3)


@pytest.mark.parametrize("times", ["uniform", "logit-normal"])
def test_flow_matching_loss_of_the_best_velocity_is_the_least(times):
    model = shaken(FlowMatchingConfig(network=SMALL, times=times), Vector(dim=1), None)
    objective = model.stages()[0].players[0].objective
    batch = Batch(0.3 * draw(Vector(dim=1), 4000, 0), None, torch.arange(4000))

    def loss(function):
        model.network = Oracle(function)
        return objective(batch, keyed(4000)).losses.mean()

    best = oracle_velocity(0.3)
    assert loss(best) < min(loss(lambda x, t: best(x, t) + 0.2), loss(lambda x, t: 0.8 * best(x, t)))


def test_logit_normal_times_avoid_the_ends():
    draws = {}
    for times in ("uniform", "logit-normal"):
        objective = (
            shaken(FlowMatchingConfig(network=SMALL, times=times), Vector(dim=1), None).stages()[0].players[0].objective
        )
        draws[times] = objective._times(keyed(4000))
    assert all(t.min() > 0 and t.max() < 1 for t in draws.values())
    assert draws["uniform"].std() == pytest.approx(math.sqrt(1 / 12), rel=0.05)
    assert draws["logit-normal"].std() == pytest.approx(0.208, rel=0.05)


# --- EDM ----------------------------------------------------------------------------------------------


def test_edm_levels_fall_from_the_largest_to_zero():
    levels = EDMConfig(steps=18).build(Vector(dim=1)).times
    assert len(levels) == 19
    assert levels[0] == pytest.approx(80)
    assert levels[-2:] == [pytest.approx(0.002), 0.0]
    assert all(a > b for a, b in pairwise(levels))


def test_edm_preconditioning_is_that_of_the_paper():
    """With F = 0 the denoiser shrinks by sigma_data^2 / (sigma^2 + sigma_data^2): right for normal data."""
    model = EDMConfig(network=SMALL, sigma_data=0.5).build(Vector(dim=3)).double()
    x, sigma = draw(Vector(dim=3), 4, 0), torch.tensor([0.01, 0.5, 3.0, 80.0], dtype=torch.float64)
    torch.testing.assert_close(model.denoise(x, sigma), x * 0.25 / (sigma**2 + 0.25)[:, None])
    seen = {}

    def spy(x, time, condition):
        seen.update(x=x, time=time)
        return torch.ones_like(x)

    model.network.forward = spy
    out = model.denoise(x, sigma) - x * 0.25 / (sigma**2 + 0.25)[:, None]
    torch.testing.assert_close(out[:, 0], sigma * 0.5 / (sigma**2 + 0.25).sqrt())
    torch.testing.assert_close(seen["x"], x / (sigma**2 + 0.25).sqrt()[:, None])
    torch.testing.assert_close(seen["time"], sigma.log() / 4)


def test_edm_loss_of_an_ignorant_network_is_one_for_normal_data():
    model = EDMConfig(network=SMALL, sigma_data=0.5).build(Vector(dim=8)).double()
    batch = Batch(0.5 * draw(Vector(dim=8), 2000, 0), None, torch.arange(2000))
    losses = model.stages()[0].players[0].objective(batch, keyed(2000)).losses.detach()
    assert losses.mean().item() == pytest.approx(1.0, abs=4 * losses.std().item() / math.sqrt(2000))


def test_edm_samples_normal_data_with_an_ignorant_network():
    model = EDMConfig(network=SMALL, sigma_data=0.5, steps=40).build(Vector(dim=1)).double()
    x, z = model.sample(50, noise=keyed(50)), keyed(50).normal("prior", (1,))
    torch.testing.assert_close(x, 0.5 * z, rtol=0.01, atol=1e-3)


# --- distillation -------------------------------------------------------------------------------------

TEACHERS = {
    "flow-matching": FlowMatchingConfig(network=MLPConfig(hidden=(32, 32)), steps=6),
    "edm": EDMConfig(network=MLPConfig(hidden=(32, 32)), steps=6),
}


@pytest.mark.parametrize("teacher", TEACHERS)
@pytest.mark.parametrize("evaluations", [1, 2])
def test_a_student_reaches_its_teacher_and_leaves_it_alone(teacher, evaluations):
    model = shaken(DistilledConfig(teacher=TEACHERS[teacher], evaluations=evaluations), Vector(dim=2), Vector(dim=1))
    stage = model.stages()[-1]
    assert [a.name for a in model.stages()] == ["fit", "distill"]
    assert stage.prepare is not None
    stage.prepare()
    for mine, theirs in zip(model.student.parameters(), model.teacher.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    frozen = [parameter.clone() for parameter in model.teacher.parameters()]
    test = Batch(draw(Vector(dim=2), 500, 3), draw(Vector(dim=1), 500, 4), torch.arange(500))

    def distance():
        with torch.no_grad():
            mine = model.sample(500, test.condition, noise=keyed(500, seed=9))
            theirs = model.teacher.sample(500, test.condition, noise=keyed(500, seed=9))
        return (mine - theirs).square().mean().sqrt()

    before, steps = distance(), 120
    player = stage.players[0]
    assert player.networks == (model.student.network,)
    optimizer = torch.optim.Adam(player.networks[0].parameters(), 3e-3)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / steps)
        batch = Batch(test.x[:128], draw(Vector(dim=1), 128, 10 + step), torch.arange(128))
        optimizer.zero_grad()
        player.objective(batch, KeyedNoise(0, batch.index, step=step, dtype=torch.float64)).losses.mean().backward()
        optimizer.step()
    assert distance() < 0.5 * before
    assert all(torch.equal(a, b) for a, b in zip(frozen, model.teacher.parameters(), strict=True))


def test_a_student_takes_as_many_evaluations_as_it_says():
    for evaluations in (1, 2, 3):
        model = DistilledConfig(teacher=TEACHERS["edm"], evaluations=evaluations).build(Vector(dim=2))
        calls = []
        model.student.network.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        model.sample(3, noise=keyed(3, dtype=torch.float32))
        assert len(calls) == evaluations
        pieces = model.segments()
        assert [pieces[0][0], pieces[-1][-1]] == [model.teacher.times[0], 0.0]
        assert all(a[-1] == b[0] for a, b in pairwise(pieces))


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (DistilledConfig(teacher=SplineConfig()), '"spline" does not carry noise to data along an ODE'),
        (DistilledConfig(teacher=TEACHERS["edm"], evaluations=7), "at most the teacher's 6 steps, found 7"),
    ],
)
def test_impossible_distillations_are_refused(config, sentence):
    with pytest.raises(ConfigError, match=sentence):
        config.build(Vector(dim=2))
