"""Conditionals feature by feature, for any model that has conditionals."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..capabilities import Conditionals, Stepwise
from ..layout import parts
from ..samplers.ancestral import Step, uncached_step
from ..spaces import Levels, Tree, support_of


def blank_samples(model: Conditionals, n: int) -> Tensor:
    """Flat samples (n, D) of zeros in the dtype in which the model draws: int64 for levels, else the weights' dtype.

    >>> from maquette.core.families.autoregressive.fvsbn import FVSBNConfig
    >>> from maquette.core.spaces import Binary, Vector
    >>> blank_samples(FVSBNConfig().build(Vector(dim=3, support=Binary())), n=2)
    tensor([[0., 0., 0.],
            [0., 0., 0.]])
    """
    module: Any = model
    weight = next(module.parameters())
    whole = any(isinstance(support_of(part), Levels) for _, part in parts(model.layout.space))
    dtype = torch.int64 if whole else weight.dtype
    return torch.zeros(n, model.layout.features, dtype=dtype, device=weight.device)


def steps(model: Conditionals, n: int, condition: Tree | None = None) -> Step:
    """Begin to draw n samples: with the model's own steps, else, at D times the cost, with all conditionals in each.

    Args:
        model: a module; features come in `model.order`.
        n: samples.
        condition: one row per sample.

    Returns:
        A step as in `samplers.ancestral`: it takes the feature drawn last (n,), None at first, and returns the
        parameters (n, P) of the next feature's conditional.

    >>> from maquette.core.families.autoregressive.fvsbn import FVSBNConfig
    >>> from maquette.core.spaces import Binary, Vector
    >>> step = steps(FVSBNConfig().build(Vector(dim=3, support=Binary())), n=2)
    >>> step(None).shape, step(torch.ones(2)).shape
    (torch.Size([2, 1]), torch.Size([2, 1]))
    """
    if isinstance(model, Stepwise):
        return model.steps(n, condition)
    order, position = model.order, model.order.argsort()
    return uncached_step(
        lambda sequence: model.conditionals(model.layout.unflatten(sequence[:, position]), condition)[:, order],
        blank_samples(model, n),
    )
