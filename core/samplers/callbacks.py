"""What a sampler tells its caller after each step."""

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
    """

    step: int
    state: Tensor
    time: float | None = None


Callback = Callable[[SamplerStep], None]
"""callback(finished step). Samplers that are given None build no record."""
