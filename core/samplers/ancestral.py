"""Ancestral sampling: features are drawn one after the other, each given those before it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..constraint import Path
from .callbacks import Callback, SamplerStep

Step = Callable[[Tensor | None], Tensor]
"""step(values drawn last (B,), None at first) -> parameters (B, P) of the next conditional distribution.

A step may cache what it computed for earlier values, so it serves one pass only.
"""


def ancestral(
    step: Step, draw: Callable[[Tensor, Tensor], Tensor], uniforms: Tensor, *, callback: Callback | None = None
) -> Tensor:
    """Draw sequences (B, D).

    Args:
        step: gives the parameters of the next conditional.
        draw: parameters (B, P) and uniform draws (B, U) to values (B,).
        uniforms: uniform draws, (B, D, U).
        callback: called after each feature, with the values drawn so far (B, step + 1) as state.

    The first feature is a fair coin, the others copy it:

    >>> step = lambda last: torch.full((2, 1), 0.5) if last is None else last[:, None]
    >>> draw = lambda p, u: (u < p)[:, 0].float()
    >>> ancestral(step, draw, torch.tensor([[0.2, 0.7, 0.1], [0.9, 0.3, 0.6]])[..., None])
    tensor([[1., 1., 1.],
            [0., 0., 0.]])
    """
    values: list[Tensor] = []
    for number, u in enumerate(uniforms.unbind(1)):
        values.append(draw(step(values[-1] if values else None), u))
        if callback is not None:
            callback(SamplerStep(number, torch.stack(values, dim=1)))
    return torch.stack(values, dim=1)


def constrained_step(step: Step, path: Path, restrict: Callable[[Tensor, Tensor], Tensor]) -> Step:
    """The step of a model under a constraint: what the constraint does not allow gets the probability zero.

    The probabilities of the allowed levels are divided by their sum, feature by feature. So a sample x is drawn with
    the probability prod_i p(x_i | x_<i) / sum of p(k | x_<i) over the levels k allowed after x_<i, which differs from
    the model's probability of x among all allowed samples.

    Args:
        step: of the model.
        path: where the samples stand before the first feature.
        restrict: parameters (B, P) and the levels allowed (B, levels) to parameters of the distribution among those.

    >>> class Rising:  # no level below the last one
    ...     def start(self, n, condition=None, *, device=None):
    ...         return torch.zeros(n, dtype=torch.int64, device=device)
    ...     def allowed(self, state):
    ...         return torch.arange(3) >= state[:, None]
    ...     def advance(self, state, level):
    ...         return level
    >>> restrict = lambda p, allowed: p * allowed / (p * allowed).sum(1, keepdim=True)
    >>> step = constrained_step(lambda last: torch.tensor([[0.2, 0.2, 0.6]]), Path.begin(Rising(), 1), restrict)
    >>> step(None), step(torch.tensor([1]))
    (tensor([[0.2000, 0.2000, 0.6000]]), tensor([[0.0000, 0.2500, 0.7500]]))
    """

    def constrained(previous: Tensor | None) -> Tensor:
        nonlocal path
        if previous is not None:
            path = path.advance(previous)
        return restrict(step(previous), path.allowed())

    return constrained


def uncached_step(parameters: Callable[[Tensor], Tensor], start: Tensor) -> Step:
    """The step of a model without a cache: all parameters are computed anew for every feature.

    Args:
        parameters: sequences (B, D) to parameters (B, D, P); those of feature i depend on the features before it.
        start: (B, D), any legal values for the features that are not drawn yet.

    >>> step = uncached_step(lambda x: torch.cumsum(x, 1)[..., None] - x[..., None], torch.zeros(1, 3))
    >>> [step(last).item() for last in (None, torch.tensor([4.0]), torch.tensor([5.0]))]
    [0.0, 4.0, 9.0]
    """
    values, index = start.clone(), 0

    def step(previous: Tensor | None) -> Tensor:
        nonlocal index
        if previous is not None:
            values[:, index] = previous
            index += 1
        return parameters(values)[:, index]

    return step
