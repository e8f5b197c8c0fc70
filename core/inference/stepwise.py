"""The laws of a sample's numbers one after the other, of any model that has conditionals."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..capabilities import Conditionals, Stepwise
from ..samplers.ancestral import Step, uncached_step
from ..spaces import Levels, Tree


def blank(model: Conditionals, n: int) -> Tensor:
    """Rows (n, D) of zeros as the model draws them: integers for integer levels, else of the weights' dtype."""
    module: Any = model
    weight = next(module.parameters())
    dtype = torch.int64 if isinstance(model.layout.support, Levels) else weight.dtype
    return torch.zeros(n, model.layout.features, dtype=dtype, device=weight.device)


def steps(model: Conditionals, n: int, condition: Tree | None = None) -> Step:
    """Begin with n samples: by the model's own steps, or, at D times the cost, by all conditionals anew each time.

    Args:
        model: a module; its numbers come in `model.order`.
        n: samples.
        condition: one row per sample.

    Returns:
        A step as in `samplers.ancestral`: it gets the last number of each sample, None at first, and returns the
        parameters (n, P) of the next.
    """
    if isinstance(model, Stepwise):
        return model.steps(n, condition)
    order, place = model.order, model.order.argsort()
    return uncached_step(
        lambda sequence: model.conditionals(model.layout.unflatten(sequence[:, place]), condition)[:, order],
        blank(model, n),
    )
