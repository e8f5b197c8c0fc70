"""Ancestral sampling: one number after the other, each given those before it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Step = Callable[[Tensor | None], Tensor]
"""step(the number drawn last (B,), None before the first) -> parameters (B, P) of the next one's law.

It may keep what it computed for earlier numbers, so a step serves one pass only.
"""


def ancestral(step: Step, draw: Callable[[Tensor, Tensor], Tensor], uniforms: Tensor) -> Tensor:
    """Draw sequences (B, D).

    Args:
        step: what the numbers so far say of the next.
        draw: parameters (B, P) and uniform numbers (B, U) to numbers (B,).
        uniforms: (B, D, U).
    """
    values: list[Tensor] = []
    for u in uniforms.unbind(1):
        values.append(draw(step(values[-1] if values else None), u))
    return torch.stack(values, dim=1)


def uncached_step(parameters: Callable[[Tensor], Tensor], start: Tensor) -> Step:
    """The step of a model that keeps nothing: all parameters anew for every number.

    Args:
        parameters: sequences (B, D) to parameters (B, D, P), of which number i sees only numbers before i.
        start: (B, D), whatever may stand where nothing was drawn yet.
    """
    values, place = start.clone(), 0

    def step(previous: Tensor | None) -> Tensor:
        nonlocal place
        if previous is not None:
            values[:, place] = previous
            place += 1
        return parameters(values)[:, place]

    return step
