"""Laws of energies: finite, pure, one per sample, with their own gradient, and log p up to a constant.

>>> from maquette.core.spaces import Vector
>>> from maquette.core.testing.energy_toys import QuadraticConfig
>>> for check in (check_energy, check_energy_density, check_energy_gradient):  # each holds: nothing is raised
...     check(QuadraticConfig(), Vector(dim=2), Vector(dim=1))
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...families import FamilyConfig
from ...inference.score import score
from ...spaces import Space, Tree, flatten, unflatten
from ..bench import TOLERANCES, all_states, assert_near, batch_of, condition_of, draw, shared
from .density import check_one_per_sample, repeated
from .invertible import differences

_STEP = 1e-4
_ACCURACY = 1e-6
"""Of central differences of that step in float64, relative."""


def check_energy(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """Energies are finite, one per sample, independent of the rest of the batch, and a function of it alone."""
    model, batch = shared(config, space, condition), batch_of(space, condition, 8)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    generator = torch.random.get_rng_state()
    eight = check_one_per_sample("energy", model.energy, batch, TOLERANCES[config.tolerance])
    with torch.no_grad():
        again = model.energy(batch.x, batch.condition)
    assert torch.equal(eight, again), "two calls of energy differ"
    assert torch.equal(generator, torch.random.get_rng_state()), "energy drew from the global generator"
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), f"energy changed {name}"


def check_energy_density(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """exp(-U) / p is one constant for each condition: on all states of the space, or on arbitrary samples."""
    model, states = shared(config, space, condition), all_states(space)
    if states is None:
        states = flatten(space, draw(space, 64, seed=1))
    x, c = unflatten(space, states), repeated(condition_of(condition, 1), len(states))
    with torch.no_grad():
        log_ratio = -model.energy(x, c) - model.log_prob(x, c)
    assert_near(log_ratio, log_ratio[:1].expand_as(log_ratio), TOLERANCES[config.tolerance], "log of exp(-U) / p")


def check_energy_gradient(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """The score by autograd is minus the slope of the energy, and the slope of log p where there is one.

    Slopes are central differences, which notice a custom backward pass that does not belong to the forward pass.
    """
    model, batch = shared(config, space, condition), batch_of(space, condition, 4)
    flat = flatten(space, batch.x)
    found = flatten(space, score(model, batch.x, batch.condition))
    assert_near(found, -_slopes(model.energy, space, flat, batch.condition), _ACCURACY, "score and slope of the energy")
    if hasattr(model, "log_prob"):
        tolerance = max(_ACCURACY, TOLERANCES[config.tolerance])
        assert_near(found, _slopes(model.log_prob, space, flat, batch.condition), tolerance, "score and slope of log p")


def _slopes(f: Callable[[Tree, Tree | None], Tensor], space: Space, x: Tensor, condition: Tree | None) -> Tensor:
    """Derivatives (B, D) of f, one value per sample, at flattened samples x (B, D)."""
    return differences(lambda flat, c: f(unflatten(space, flat), c)[:, None], x, condition, _STEP)[:, 0]
