"""What a sampler passes to a callback after each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class SamplerStep:
    """One step that a sampler has finished.

    Attributes:
        step: its number, from 0.
        state: what the sampler holds after it, (B, ...).
        time: the time or noise level reached; None for samplers without one.

    >>> import torch
    >>> from maquette.core.samplers.ode import euler
    >>> steps: list[SamplerStep] = []
    >>> x = euler(lambda x, t: -x, torch.ones(1), [0.0, 0.5, 1.0], callback=steps.append)
    >>> steps[0]
    SamplerStep(step=0, state=tensor([0.5000]), time=0.5)
    """

    step: int
    state: Tensor
    time: float | None = None


Callback = Callable[[SamplerStep], None]
"""callback(finished step)"""
