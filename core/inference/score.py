"""The score of a model: the direction in which its density rises."""

from __future__ import annotations

import torch
from torch import Tensor

from ..capabilities import Density, Energy
from ..data import map_tree
from ..errors import SpaceError
from ..spaces import Tree


def score(model: Density | Energy, x: Tree, condition: Tree | None = None) -> Tree:
    """The score d log p(x | condition) / dx (Hyvärinen, JMLR 6 (2005) 695), for Langevin steps among others.

    It is minus the gradient of the energy if the model has one, so that the density need not be normalised; else the
    gradient of the log-density.

    Args:
        model: one with an energy or a density, each sample's independent of the rest of the batch.
        x: real samples, leading axis B.
        condition: one row per sample.

    Returns:
        Derivatives in the form of x, per unit of x. They are constants: no gradient passes through them.

    Raises:
        SpaceError: x has integer values, which have no derivative.

    >>> from types import SimpleNamespace
    >>> well = SimpleNamespace(energy=lambda x, condition: (x.square() - 1).square().sum(1))  # minima at -1 and 1
    >>> score(well, torch.tensor([[0.5], [-0.5], [2.0]])).squeeze(1)
    tensor([  1.5000,  -1.5000, -24.0000])
    """
    tensors = (x,) if isinstance(x, Tensor) else tuple(x.values())
    for tensor in tensors:
        if not tensor.is_floating_point():
            raise SpaceError(
                f"x: a score is a derivative, so expected real values, found {tensor.dtype}; "
                "discrete samples have ratios of probabilities instead."
            )
    with torch.enable_grad():
        at = map_tree(lambda tensor: tensor.detach().requires_grad_(), x)
        value = -model.energy(at, condition) if isinstance(model, Energy) else model.log_prob(at, condition)
        leaves = (at,) if isinstance(at, Tensor) else tuple(at.values())
        slopes = iter(torch.autograd.grad(value.sum(), leaves, materialize_grads=True))
    return map_tree(lambda _: next(slopes), x)
