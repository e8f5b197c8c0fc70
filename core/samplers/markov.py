"""Markov chains that forget their start: one step after the other, each with noise of its own."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..noise import Noise

Kernel = Callable[[Tensor, Noise], Tensor]
"""kernel(states (B, ...), noise of B rows) -> the next states."""


def markov_chain(kernel: Kernel, start: Tensor, steps: int, noise: Noise) -> Tensor:
    """The states after `steps` steps; step k reads the noise folded under "step/k"."""
    state = start
    for k in range(steps):
        state = kernel(state, noise.fold(f"step/{k}"))
    return state
