"""Optimisers do what their configs say."""

import pytest
import torch
from maquette.core.engine import optimizers
from maquette.core.engine.plan import OptimizerConfig
from torch import nn


@pytest.mark.parametrize(("kind", "decoupled"), [("adamw", True), ("adam", False)])
def test_weight_decay_is_decoupled_from_the_gradient_in_adamw_alone(kind: str, decoupled: bool) -> None:
    """A weight without gradient shrinks by lr x decay (arXiv:1711.05101); under Adam it takes a whole step."""
    weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = optimizers.build(OptimizerConfig(kind=kind, lr=0.1, weight_decay=0.5), [weight])
    weight.grad = torch.zeros_like(weight)
    optimizer.step()
    assert weight.item() == pytest.approx(0.95 if decoupled else 0.9, abs=1e-6)
