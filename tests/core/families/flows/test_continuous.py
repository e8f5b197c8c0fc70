"""Continuous flows: divergences and integration errors in the loss."""

import math

import pytest
import torch
from maquette.core.data import Batch
from maquette.core.families.flows.continuous import ContinuousConfig
from maquette.core.nets.mlp import MLPConfig
from maquette.core.spaces import Vector
from maquette.core.testing.bench import draw, keyed, shaken


@pytest.mark.parametrize(("method", "coupled"), [("rk4", False), ("dopri5", True)])
def test_adaptive_steps_couple_a_batch(method, coupled):
    config = ContinuousConfig.example().model_copy(update={"method": method})
    assert config.build(Vector(dim=2)).stages()[0].players[0].objective.coupled is coupled


def test_an_estimated_divergence_gives_the_exact_likelihood_on_average():
    space, n = Vector(dim=3), 4000
    config = ContinuousConfig(network=MLPConfig(hidden=(8,)), steps=16)
    batch = Batch(torch.tensor([[0.4, -1.0, 0.2]], dtype=torch.float64).expand(n, 3), None, torch.arange(n))
    losses = {}
    for trace in ("hutchinson", "exact"):
        model = shaken(config.model_copy(update={"trace": trace}), space, None, scale=0.5)
        losses[trace] = model.stages()[0].players[0].objective(batch, keyed(n)).metrics["nll"].detach()
    error = losses["hutchinson"].std() / math.sqrt(n)
    assert losses["exact"].std() < 1e-12 < error
    assert abs(losses["hutchinson"].mean() - losses["exact"][0]) < 4 * error


def test_the_estimated_error_bounds_that_of_the_steps():
    """The error in the loss is larger than the true one, and falls with the fourth power of the step."""
    space, n = Vector(dim=2), 200
    batch = Batch(draw(space, n, seed=1), None, torch.arange(n))
    errors = []
    for steps in (4, 8, 16):
        config = ContinuousConfig(network=MLPConfig(hidden=(8,)), trace="exact", steps=steps)
        model = shaken(config, space, None, scale=0.5)
        metrics = model.stages()[0].players[0].objective(batch, keyed(n)).metrics
        with torch.no_grad():
            away = metrics["nll"] + model.log_prob(batch.x) / 2
        assert metrics["error"].mean() > away.abs().mean()
        errors.append(metrics["error"].mean())
    assert errors[0] > 8 * errors[1] > 64 * errors[2] > 0


def test_the_integration_error_has_ten_times_the_weight_of_the_likelihood():
    space, n = Vector(dim=2), 50
    config = ContinuousConfig(network=MLPConfig(hidden=(8,)), trace="exact", steps=2, roughness=0.0)
    model = shaken(config, space, None, scale=0.5)
    objective = model.stages()[0].players[0].objective
    losses = objective(Batch(draw(space, n, seed=1), None, torch.arange(n)), keyed(n))
    error = losses.metrics["error"]
    assert error.min() > 1e-4
    torch.testing.assert_close(losses.losses, losses.metrics["nll"] + 10 * error)
