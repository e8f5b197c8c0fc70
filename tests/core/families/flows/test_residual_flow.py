"""Residual flows: steps are contractions, and estimates are unbiased."""

import math

import pytest
import torch
from maquette.core.data import Batch
from maquette.core.errors import SampleError
from maquette.core.families.flows.residual_flow import ResidualFlowConfig
from maquette.core.spaces import Vector
from maquette.core.testing.bench import keyed, shaken
from maquette.core.testing.laws import LAWS

CONFIG = ResidualFlowConfig(steps=2, hidden=(8, 8), terms=1, chance=0.6)


def one_point(n):
    x = torch.tensor([[0.3, -0.8, 0.5]], dtype=torch.float64).expand(n, 3)
    return x, torch.tensor([[0.7]], dtype=torch.float64).expand(n, 1)


def strong():
    """Weights far larger than the bound on their spectral norms."""
    return shaken(CONFIG, Vector(dim=3), Vector(dim=1), scale=1.0)


def test_steps_contract_whatever_their_weights():
    flow = strong()
    x = torch.randn(200, 3, dtype=torch.float64)
    c = torch.randn(200, 1, dtype=torch.float64)
    for step in flow.transforms:
        jacobian = torch.autograd.functional.jacobian(lambda x, step=step: step.residual(x, c).sum(0), x)
        largest = torch.linalg.svdvals(jacobian.transpose(0, 1)).max()
        assert 0.1 < largest < 0.95


def test_estimates_are_unbiased_where_series_are_cut_early():
    LAWS["estimate"].check(CONFIG, Vector(dim=3), Vector(dim=1))


def test_without_gradients_the_loss_is_the_same():
    flow = strong()
    objective = flow.stages()[0].players[0].objective
    x, c = one_point(50)
    batch = Batch(x, c, torch.arange(50))
    with torch.no_grad():
        alone = objective(batch, keyed(50)).losses
    torch.testing.assert_close(objective(batch, keyed(50)).losses, alone)


def test_the_inverse_stops_although_rounding_keeps_changing_it():
    """Hidden values of 1e4 are rounded to 1e-3 in single precision, and x moves with them."""
    torch.manual_seed(0)
    flow = CONFIG.build(Vector(dim=3), Vector(dim=1))
    c = torch.linspace(0, 1e4, 64)[:, None]
    z = torch.randn(64, 3)
    with torch.no_grad():
        torch.testing.assert_close(flow.encode(flow.decode(z, c), c), z, rtol=0, atol=0.05)


def test_codes_that_are_not_finite_are_refused():
    z = torch.zeros(2, 3)
    z[1, 2] = math.nan
    with pytest.raises(SampleError, match="a sample is not finite; expected finite codes"):
        CONFIG.build(Vector(dim=3)).decode(z)


@pytest.mark.parametrize("chance", [0.2, 0.8])
def test_terms_are_reached_as_often_as_their_weights_say(chance):
    flow = CONFIG.model_copy(update={"terms": 2, "chance": chance}).build(Vector(dim=2))
    n = 20_000
    weights = flow._weights(keyed(n).uniform("u"))
    assert (weights[:, :2] == 1).all()
    for k in range(min(6, weights.shape[1])):
        error = weights[:, k].std() / math.sqrt(n)
        assert abs(weights[:, k].mean() - 1) <= 4 * error
