"""Markov chains: repeated application of a kernel, with new noise in each step."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..noise import Noise
from .callbacks import Callback, SamplerStep

Kernel = Callable[[Tensor, Noise], Tensor]
"""kernel(states (B, ...), noise of batch size B) -> the next states (B, ...)."""


def markov_chain(
    kernel: Kernel, start: Tensor, steps: int, noise: Noise, *, callback: Callback | None = None
) -> Tensor:
    """Run B chains from states `start` (B, ...) and return their last states.

    Step k reads the noise folded under "step/k".

    >>> import torch
    >>> from maquette.core.noise import KeyedNoise
    >>> seen = []
    >>> walk = lambda x, noise: x + noise.normal("jump")
    >>> noise = KeyedNoise(0, torch.arange(5))
    >>> x = markov_chain(walk, torch.zeros(5), 3, noise, callback=lambda done: seen.append(done.step))
    >>> x.shape, seen
    (torch.Size([5]), [0, 1, 2])
    """
    state = start
    for k in range(steps):
        state = kernel(state, noise.fold(f"step/{k}"))
        if callback is not None:
            callback(SamplerStep(k, state))
    return state
