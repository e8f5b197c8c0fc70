"""Laws of invertible models: `encode` and `decode` are inverses, and densities include the log-determinant.

>>> from maquette.core.families.flows.linear import LinearConfig
>>> from maquette.core.spaces import Vector
>>> for check in (check_inverse, check_log_det):  # each holds: nothing is raised
...     check(LinearConfig(), Vector(dim=3), Vector(dim=1))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...data import map_tree
from ...families import FamilyConfig
from ...layout import parts
from ...samplers.likelihood import normal_log_density
from ...spaces import Space, Torus, Tree, flatten, size, support_of, unflatten
from ..bench import TOLERANCES, assert_near, batch_of, shared, tolerance_of
from .density import bounds


def check_inverse(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """`encode` and `decode` are inverses, also far out in the tails; angles may differ by whole periods."""
    model, tolerance = shared(config, space, condition), tolerance_of(config, "inverse")
    batch = batch_of(space, condition, 64)
    with torch.no_grad():
        flat = flatten(space, batch.x)
        flat = flat if bounds(space) else 3 * flat
        x = unflatten(space, flat)
        again = flatten(space, model.decode(model.encode(x, batch.condition), batch.condition))
        assert_near(_nearest_turn(space, again, flat), flat, tolerance, "x")
        z = model.encode(batch.x, batch.condition)
        assert_near(model.encode(model.decode(z, batch.condition), batch.condition), z, tolerance, "z")


def _nearest_turn(space: Space, flat: Tensor, other: Tensor) -> Tensor:
    """Samples (B, D); angles shifted by whole periods to be next to those of the other samples."""
    (_, part), *_ = parts(space)
    match support_of(part):
        case Torus(period=period):
            return flat - period * ((flat - other) / period).round()
        case _:
            return flat


def check_log_det(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """log_prob is the log-density of the code plus the log-determinant of the Jacobian of `encode`.

    The Jacobian is taken twice: by autograd, and by central differences, which also notice a custom backward pass that
    does not belong to the forward pass. A code is standard normal, unless the model has a `base` of its own.
    """
    model, batch = shared(config, space, condition), batch_of(space, condition, 16 if size(space) <= 8 else 4)
    flat = flatten(space, batch.x).requires_grad_()
    x = unflatten(space, flat)
    z = model.encode(x, batch.condition)
    base = base_density(model, z, batch.condition)
    with torch.no_grad():
        found, tolerance = model.log_prob(x, batch.condition), tolerance_of(config, "log-det")
    rows = torch.eye(z.shape[1], dtype=z.dtype).unsqueeze(1).expand(-1, *z.shape)
    jacobian = torch.autograd.grad(z, flat, rows, is_grads_batched=True)[0].transpose(0, 1)
    assert_near(found, base + torch.linalg.slogdet(jacobian).logabsdet, tolerance, "log-determinant")
    step = max(torch.finfo(z.dtype).eps, 1e-5 * TOLERANCES[config.tolerance]) ** (1 / 3)  # truncation is as rounding
    jacobian = differences(lambda flat, c: model.encode(unflatten(space, flat), c), flat, batch.condition, step)
    expected = base + torch.linalg.slogdet(jacobian).logabsdet
    assert_near(found, expected, max(tolerance, 1e-6), "log-determinant by differences")


def base_density(model: Any, z: Tensor, condition: Tree | None) -> Tensor:
    """Log-densities (B,) of codes (B, D): standard normal, unless the model has a `base` of its own.

    >>> from types import SimpleNamespace
    >>> base_density(SimpleNamespace(), torch.zeros(1, 2), None)
    tensor([-1.8379])
    """
    if not hasattr(model, "base"):
        return normal_log_density(z)
    return model.base.log_prob(z, model.layout.context(condition, z).vector)


@torch.no_grad()
def differences(f: Callable[[Tensor, Tree | None], Tensor], x: Tensor, condition: Tree | None, h: float) -> Tensor:
    """The Jacobians (B, L, D) of codes (B, L) by central differences of step h in x (B, D), all of them in one batch.

    >>> differences(lambda x, condition: x.square(), torch.tensor([[3.0, 5.0]]).double(), None, 0.5)
    tensor([[[ 6.,  0.],
             [ 0., 10.]]], dtype=torch.float64)
    """
    n, d = x.shape
    steps = h * torch.cat((torch.eye(d, dtype=x.dtype), -torch.eye(d, dtype=x.dtype)))
    shifted = (x + steps.unsqueeze(1)).flatten(0, 1)
    c = map_tree(lambda t: t.repeat(2 * d, *(1 for _ in t.shape[1:])), condition)
    up, down = f(shifted, c).unflatten(0, (2, d, n))
    return ((up - down) / (2 * h)).permute(1, 2, 0)
