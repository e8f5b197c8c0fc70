"""Bits per dimension against a closed form, and the caveats that they list."""

import pytest
import torch
from maquette.core.data import TensorSource
from maquette.core.errors import ConfigError
from maquette.core.families.flows.dequantised import DequantisedConfig
from maquette.core.families.flows.linear import LinearConfig
from maquette.core.inference.bits import bits_per_dim
from maquette.core.inference.likelihood import log_likelihood
from maquette.core.spaces import Levels, Vector


class Dice:
    """Fair dice of eight sides: three bits each."""

    def __init__(self, dim):
        self.dim = dim

    def parameters(self):
        return iter([torch.zeros(1)])

    def log_prob(self, x, condition=None):
        return torch.full((len(x),), -self.dim * torch.log(torch.tensor(8.0)))


SPACE = Vector(dim=5, support=Levels(count=8))
SOURCE = TensorSource(torch.randint(0, 8, (20, 5)))


def test_fair_dice_cost_three_bits():
    found = bits_per_dim(log_likelihood(Dice(5), SOURCE, SPACE))
    assert found.value == pytest.approx(3, abs=1e-6)
    assert found.error == pytest.approx(0, abs=1e-6)
    assert str(found) == "3.0000 +- 0.0000 bits/dim (log-mass of 5 dimensions, exact, n = 20)"


@pytest.mark.parametrize(("kind", "draws"), [("uniform", 1), ("variational", 3)])
def test_a_figure_names_bound_draws_and_dequantisation(kind, draws):
    torch.manual_seed(0)
    model = DequantisedConfig(flow=LinearConfig(), noise={"kind": kind}).build(SPACE)
    found = bits_per_dim(log_likelihood(model, SOURCE, SPACE, draws=draws))
    assert 3 < found.value < 5  # an untrained flow
    plural = "draw" if draws == 1 else "draws"
    sentence = (
        f"bits/dim (log-mass of 5 dimensions, lower bound with {draws} {plural}, normal base, "
        f"{kind} dequantisation of 8 levels, n = 20)"
    )
    assert str(found).endswith(sentence)


def test_densities_have_no_bits():
    real = Vector(dim=2)
    found = log_likelihood(LinearConfig().build(real), TensorSource(torch.randn(4, 2)), real)
    with pytest.raises(ConfigError, match="found a log-density, which depends on the unit of the values"):
        bits_per_dim(found)
