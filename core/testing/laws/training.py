"""Laws of objectives: pure, per sample, and with a gradient for every parameter.

>>> from maquette.core.families.flows.linear import LinearConfig
>>> from maquette.core.spaces import Vector
>>> for check in (check_gradients, check_purity, check_losses):  # each holds: nothing is raised
...     check(LinearConfig(), Vector(dim=3), Vector(dim=1))
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...families import FamilyConfig
from ...spaces import Space
from ..bench import TOLERANCES, assert_near, batch_of, head, keyed, objectives, shaken, shared


def check_gradients(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """Every parameter of a player's networks gets a gradient, and every parameter belongs to some player.

    What no player trains, such as a teacher fitted elsewhere, is declared by `requires_grad_(False)`, also where it is
    a part of a player's network.
    """
    model, batch = shaken(config, space, condition).train(), batch_of(space, condition, 16)
    trained = set()
    for name, objective, networks in objectives(model):
        model.zero_grad(set_to_none=True)
        objective(batch, keyed(16)).losses.sum().backward()
        for network in networks:
            for parameter_name, parameter in network.named_parameters():
                trained.add(parameter)
                fixed = not parameter.requires_grad or not parameter.numel()
                moved = fixed or (parameter.grad is not None and bool(parameter.grad.abs().sum() > 0))
                assert moved, f"{name}: no gradient reaches {parameter_name}"
    idle = [
        name for name, parameter in model.named_parameters() if parameter.requires_grad and parameter not in trained
    ]
    assert not idle, f"no player trains {idle}"


def check_purity(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """An objective's loss is a function: it repeats, changes no state, and leaves the global generator alone."""
    model, batch = shaken(config, space, condition).train(), batch_of(space, condition, 8)
    for name, objective, _ in objectives(model):
        before = {name: tensor.clone() for name, tensor in _state(model, objective).items()}
        generator = torch.random.get_rng_state()
        first, second = (objective(batch, keyed(8)).losses for _ in range(2))
        assert torch.equal(first, second), f"{name}: two calls differ"
        assert torch.equal(generator, torch.random.get_rng_state()), f"{name}: drew from the global generator"
        for changed, tensor in _state(model, objective).items():
            assert torch.equal(tensor, before[changed]), f"{name}: the loss changed {changed}"


def _state(model: nn.Module, objective: nn.Module) -> dict[str, Tensor]:
    """All that a fit would save: an objective may have counters of its own beside the model that it holds."""
    return {**model.state_dict(), **{f"objective.{name}": tensor for name, tensor in objective.state_dict().items()}}


def check_losses(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """Losses, weights and metrics are one per sample, finite, and independent of the batch unless declared coupled."""
    model, batch = shared(config, space, condition), batch_of(space, condition, 8)
    for name, objective, _ in objectives(model):
        eight = objective(batch, keyed(8))
        for what, value in {"losses": eight.losses, "weights": eight.weights, **eight.metrics}.items():
            assert value is not None, f"{name}: {what} is None"
            assert value.shape == (8,), f"{name}: {what} has shape {tuple(value.shape)}, expected (8,)"
            assert value.isfinite().all(), f"{name}: {what} is not finite"
        if not objective.coupled:
            four = objective(head(batch, 4), keyed(4))
            assert_near(
                four.losses, eight.losses[:4], TOLERANCES[config.tolerance], f"{name}: losses depend on their batch"
            )
