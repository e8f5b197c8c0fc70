"""What several autoregressive families are tried on: laws, normalisation, dependences and small fits."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from maquette.core.data import Batch
from maquette.core.families import FamilyConfig
from maquette.core.spaces import Binary, Field, Interval, Levels, Product, Space, Vector
from maquette.core.testing.bench import keyed, shaken
from maquette.core.testing.laws import LAWS, applicable
from torch import Tensor

CASES = {
    "binary": (Vector(dim=4, support=Binary()), Vector(dim=2)),
    "levels": (Field(channels=2, grid=(2, 2), support=Levels(count=3)), None),
    "product": (
        Product(parts={"a": Vector(dim=1), "b": Field(channels=1, grid=(2, 2))}),
        Vector(dim=1, support=Levels(count=3)),
    ),
    "interval": (Vector(dim=2, support=Interval()), Vector(dim=1)),
}
"""Spaces with a condition or None."""


@pytest.fixture(params=CASES)
def check_laws(request: pytest.FixtureRequest) -> Callable[[FamilyConfig], None]:
    """The laws that apply to a family on one of `CASES`."""

    def check(config: FamilyConfig) -> None:
        for law in applicable(config, *CASES[request.param]):
            LAWS[law].check(config, *CASES[request.param])

    return check


@pytest.fixture(params=[None, Vector(dim=2)], ids=["alone", "conditional"])
def total_mass(request: pytest.FixtureRequest) -> Callable[[FamilyConfig], float]:
    """The sum of the masses of all 1024 states of ten bits, without and with a condition."""

    def total(config: FamilyConfig) -> float:
        condition: Space | None = request.param
        model = shaken(config, Vector(dim=10, support=Binary()), condition)
        states = torch.tensor(list(itertools.product((0.0, 1.0), repeat=10)), dtype=torch.float64)
        c = None if condition is None else torch.tensor([[0.3, -1.0]], dtype=torch.float64).expand(len(states), -1)
        with torch.no_grad():
            return model.log_prob(states, c).exp().sum().item()

    return total


@pytest.fixture
def jacobian() -> Callable[[Any, Space], Tensor]:
    """Jacobian (D, D) of the sum of each feature's parameters by all features, both in the order of drawing."""

    def compute(model: Any, space: Space) -> Tensor:
        x = torch.randn(1, *space.shape, dtype=torch.float64)
        found = torch.autograd.functional.jacobian(lambda x: model.conditionals(x)[0].sum(1), x)
        return found.reshape(len(model.order), -1)[model.order][:, model.order]

    return compute


@pytest.fixture
def nats_after_fit() -> Callable[..., float]:
    """Negative log-likelihood of samples, nats each, after so many steps of Adam on all of them."""

    def fitted(config: FamilyConfig, space: Space, x: Tensor, *, lr: float, steps: int, seed: int = 0) -> float:
        torch.manual_seed(seed)
        model = config.build(space)
        objective, optimizer = model.stages()[0].players[0].objective, torch.optim.Adam(model.parameters(), lr)
        for step in range(steps):
            optimizer.zero_grad()
            noise = keyed(len(x), seed=step, dtype=torch.float32)
            objective(Batch(x, None, torch.arange(len(x))), noise).losses.mean().backward()
            optimizer.step()
        return -model.log_prob(x).mean().item()

    return fitted


@pytest.fixture
def nats_on_parity(nats_after_fit: Callable[..., float]) -> Callable[[FamilyConfig], float]:
    """Nats per sample after a fit to two fair coins and whether they agree.

    They are log 4 at best. No generalised linear model finds the third conditional: then they are log 8.
    """
    x = torch.tensor([[0, 0, 1], [0, 1, 0], [1, 0, 0], [1, 1, 1]], dtype=torch.float32).repeat(16, 1)
    return lambda config: nats_after_fit(config, Vector(dim=3, support=Binary()), x, lr=0.05, steps=250, seed=1)
