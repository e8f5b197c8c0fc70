"""Mean and standard deviation of masked values that are added block by block."""

from __future__ import annotations

import torch
from torch import Tensor


class RunningMoments:
    """Running mean and standard deviation of masked values, in float64.

    Args:
        shape: of one sample, (...).

    >>> moments = RunningMoments((2,))
    >>> values = torch.tensor([[1.0, 5.0], [3.0, 7.0]])
    >>> moments.add(values, torch.tensor([[True, True], [True, False]]))
    >>> moments
    RunningMoments(shape=(2,), count=[2, 1])
    >>> moments.mean.tolist(), moments.std.tolist()
    ([2.0, 5.0], [1.0, 0.0])
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.count, self.total, self.square = (torch.zeros(shape, dtype=torch.float64) for _ in range(3))

    def add(self, value: Tensor, mask: Tensor) -> None:
        """Add the values (B, ...) where the mask (B, ...) is true."""
        value = torch.where(mask, value, torch.zeros_like(value)).double()
        self.count += mask.sum(0)
        self.total += value.sum(0)
        self.square += value.square().sum(0)

    @property
    def mean(self) -> Tensor:
        """Mean (...); zero where no value was added."""
        return self.total / self.count.clamp(min=1)

    @property
    def std(self) -> Tensor:
        """Standard deviation (...), without Bessel's correction; one where no value was added."""
        std = (self.square / self.count.clamp(min=1) - self.mean.square()).clamp(min=0).sqrt()
        return torch.where(self.count > 0, std, torch.ones_like(std))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={tuple(self.count.shape)}, count={self.count.long().tolist()})"
