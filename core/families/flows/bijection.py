"""Bijections of rows, in zuko's convention: torch transforms that give value and log-determinant in one pass."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Transform, constraints


class Bijection(Transform):
    """Base of bijections of rows (..., D); a subclass defines `call_and_ladj` and `_inverse`."""

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (..., D) to (y (..., D), log |det dy/dx| (...))."""
        raise TypeError(f"{type(self).__name__} does not define call_and_ladj(x).")

    def _call(self, x: Tensor) -> Tensor:
        return self.call_and_ladj(x)[0]

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self.call_and_ladj(x)[1]


class NumberBijection(Bijection):
    """Base of bijections of single numbers: x (..., D) to (y, log |dy/dx|), both (..., D)."""

    domain = constraints.real
    codomain = constraints.real


class Summed(Bijection):
    """A bijection of single numbers as one of rows: its log-determinants (..., D) are summed to (...)."""

    def __init__(self, numbers: Transform) -> None:
        super().__init__()
        self.numbers = numbers

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, ladj = self.numbers.call_and_ladj(x)  # type: ignore[attr-defined]
        return y, ladj.sum(dim=-1)

    def _inverse(self, y: Tensor) -> Tensor:
        return self.numbers.inv(y)  # type: ignore[return-value]


class Reversed(Bijection):
    """A bijection of rows the other way round; its log-determinant takes a pass of each way."""

    def __init__(self, inner: Transform) -> None:
        super().__init__()
        self.inner = inner

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y: Tensor = self.inner.inv(x)  # type: ignore[assignment]
        return y, -self.inner.log_abs_det_jacobian(y, x)

    def _inverse(self, y: Tensor) -> Tensor:
        return self.inner(y)  # type: ignore[return-value]


class Scaling(Bijection):
    """y = scale (x - low) + start on all numbers alike; back, kept within [low, high] against rounding."""

    def __init__(self, low: float, high: float, start: float, stop: float) -> None:
        super().__init__()
        self.low, self.high, self.start = low, high, start
        self.scale = (stop - start) / (high - low)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_scale = x.shape[-1] * math.log(self.scale)
        return self.scale * (x - self.low) + self.start, torch.full_like(x[..., 0], log_scale)

    def _inverse(self, y: Tensor) -> Tensor:
        return ((y - self.start) / self.scale + self.low).clamp(self.low, self.high)
