"""The score of models with a density or an energy."""

from types import SimpleNamespace

import pytest
import torch
from maquette.core.errors import SpaceError
from maquette.core.families.flows.linear import LinearConfig
from maquette.core.inference.score import score
from maquette.core.samplers.likelihood import normal_log_density
from maquette.core.spaces import Product, Vector
from maquette.core.testing.bench import draw, shaken
from maquette.core.testing.energy_toys import QuadraticConfig


def test_score_of_a_normal_density_is_the_way_back_to_its_mean():
    model = SimpleNamespace(log_prob=lambda x, condition: normal_log_density((x - condition) / 0.5))
    x, mean = torch.randn(6, 3).double(), torch.randn(6, 3).double()
    assert torch.allclose(score(model, x, mean), (mean - x) / 0.25)


def test_score_of_a_product_is_a_product_and_needs_no_gradients_of_weights():
    space = Product(parts={"a": Vector(dim=1), "b": Vector(dim=2)})
    model, x = shaken(LinearConfig(), space, None), draw(space, 4, seed=0)
    with torch.no_grad():
        found = score(model, x)
    assert {name: part.shape for name, part in found.items()} == {"a": (4, 1), "b": (4, 2)}
    assert not any(part.requires_grad for part in found.values())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_energy_and_its_density_have_the_same_score():
    model, x = shaken(QuadraticConfig(), Vector(dim=3), None), torch.randn(4, 3).double()
    assert torch.allclose(score(model, x), score(SimpleNamespace(log_prob=model.log_prob), x))


def test_integers_have_no_score():
    with pytest.raises(SpaceError, match=r"expected real values, found torch\.int64"):
        score(shaken(LinearConfig(), Vector(dim=2), None), torch.zeros(3, 2, dtype=torch.int64))
