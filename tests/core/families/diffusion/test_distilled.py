"""Distillation: students start from their teachers' weights and learn their end points in fewer steps."""

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
from maquette.core.noise import KeyedNoise
from maquette.core.spaces import Vector
from maquette.core.testing.bench import draw, keyed, shaken

TEACHERS = {
    "flow-matching": FlowMatchingConfig(network=MLPConfig(hidden=(32, 32)), sampler={"steps": 6}),
    "edm": EDMConfig(network=MLPConfig(hidden=(32, 32)), sampler={"steps": 6}),
}


@pytest.mark.parametrize("teacher", TEACHERS)
@pytest.mark.parametrize("evaluations", [1, 2])
def test_a_student_learns_from_its_teacher_without_changing_it(teacher, evaluations):
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


def test_a_later_error_corrects_earlier_steps(function):
    """With velocity a before t = 1/2 and b after it, the student's error at the end has a gradient by a.

    A teacher at rest stays at z, so the loss is ((a / 2)^2 + (a / 2 + b / 2)^2) / 2, whose slope in a is 3/4 at a = b
    = 1. If the state between the steps were detached, it would be 1/4.
    """
    model = DistilledConfig(teacher=TEACHERS["flow-matching"], evaluations=2).build(Vector(dim=1)).double()
    a, b = (torch.ones((), dtype=torch.float64, requires_grad=True) for _ in range(2))
    model.teacher.network = function(lambda x, t, context: torch.zeros_like(x))
    model.student.network = function(lambda x, t, context: torch.where(t < 0.5, a, b) * torch.ones_like(x))
    batch = Batch(draw(Vector(dim=1), 4, 0), None, torch.arange(4))
    losses = model.stages()[-1].players[0].objective(batch, keyed(4)).losses
    torch.testing.assert_close(losses, torch.full((4,), 0.625, dtype=torch.float64))
    slopes = torch.autograd.grad(losses.mean(), (a, b))
    torch.testing.assert_close(torch.stack(slopes), torch.tensor([0.75, 0.5], dtype=torch.float64))


def test_a_student_takes_as_many_evaluations_as_it_says():
    for evaluations in (1, 2, 3):
        model = DistilledConfig(teacher=TEACHERS["edm"], evaluations=evaluations).build(Vector(dim=2))
        calls = []
        model.student.network.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        model.sample(3, noise=keyed(3, dtype=torch.float32))
        assert len(calls) == evaluations
        segments = model.segments()
        assert [segments[0][0], segments[-1][-1]] == [model.teacher.times[0], 0.0]
        assert all(a[-1] == b[0] for a, b in pairwise(segments))


def test_one_step_learns_two_clusters(train, clusters):
    """One Euler step of the teacher takes all noise to the mean; a distilled step is within 0.15 of ten steps."""
    teacher = FlowMatchingConfig(network=MLPConfig(hidden=(64, 64)))
    model = DistilledConfig(teacher=teacher, evaluations=1).build(Vector(dim=1))
    fit, distill = model.stages()
    train(fit, lambda number: clusters.batch(256, number), steps=400, lr=5e-3)
    assert distill.prepare is not None
    distill.prepare()
    noise = keyed(1000, seed=5, dtype=torch.float32)

    def distance():
        with torch.no_grad():
            return (model.sample(1000, noise=noise) - model.teacher.sample(1000, noise=noise)).abs().mean()

    assert distance() > 1.0
    train(distill, lambda number: clusters.batch(256, number), steps=300, lr=5e-3)
    assert distance() < 0.15


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
