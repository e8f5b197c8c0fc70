"""Figures of merit while a fit goes on, computed with averaged weights and noise of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn

from ..noise import Noise

NoiseFactory = Callable[[Tensor], Noise]
"""Global sample indices (int64, shape (B,)) to noise of the stream "evaluate" at the current step."""


class Evaluator(Protocol):
    """Computes named figures of the current model. Called on all processes; those of the first process are kept."""

    every: int

    def __call__(self, noise: NoiseFactory) -> Mapping[str, float]: ...


@contextmanager
def evaluating(networks: Sequence[nn.Module]) -> Iterator[None]:
    """Put networks in evaluation mode without gradients, then back in the mode they were in."""
    modes = [network.training for network in networks]
    try:
        for network in networks:
            network.eval()
        with torch.no_grad():
            yield
    finally:
        for network, mode in zip(networks, modes, strict=True):
            network.train(mode)
