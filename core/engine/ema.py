"""Exponentially averaged weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .parallel import to_local


class ExponentialMovingAverage:
    """Running average of parameters, a <- d a + (1 - d) p with d = min(decay, (1 + n) / (10 + n)) after n updates.

    The decay warms up, so that the average forgets the initial weights. Parameters may be shards (DTensor). Buffers are
    not averaged.

    >>> layer = nn.Linear(1, 1)
    >>> average = ExponentialMovingAverage(list(layer.parameters()), decay=0.5)
    >>> _ = nn.init.zeros_(average.tensors[0]), nn.init.ones_(layer.weight)
    >>> average.update(count=0)  # d = 1 / 10
    >>> with average.swapped():
    ...     round(layer.weight.item(), 3)
    0.9
    >>> layer.weight.item()
    1.0
    """

    def __init__(self, parameters: Sequence[nn.Parameter], decay: float) -> None:
        self.parameters, self.decay = list(parameters), decay
        self.tensors: list[Tensor] = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def update(self, count: int) -> None:
        """Update with the current parameters; `count` is the number of updates before this one."""
        decay = min(self.decay, (1 + count) / (10 + count))
        current = [to_local(parameter.detach()) for parameter in self.parameters]
        torch._foreach_lerp_([to_local(tensor) for tensor in self.tensors], current, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]

    @torch.no_grad()
    def adopt(self) -> None:
        """Copy the averages into the parameters."""
        for parameter, tensor in zip(self.parameters, self.tensors, strict=True):
            parameter.copy_(tensor)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Use the averages as weights inside the context, and restore the weights afterwards."""
        kept = [parameter.detach().clone() for parameter in self.parameters]
        try:
            self.adopt()
            yield
        finally:
            with torch.no_grad():
                for parameter, tensor in zip(self.parameters, kept, strict=True):
                    parameter.copy_(tensor)
