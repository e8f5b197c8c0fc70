"""Bijections that give a value and its log-determinant in one pass (zuko's convention), with types.

A bijection is a torch `Transform` with two typed methods: `call_and_ladj` and `inverse`. Networks that depend on a
condition are *lazy* transforms (zuko's word): modules that return the bijection for a given context.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import Transform, constraints


class Bijection(Transform, ABC):
    """Base of bijections of vectors (..., D).

    The interface of torch, `transform(x)`, `transform.inv(y)` and `log_abs_det_jacobian`, follows from the two methods
    that a subclass defines.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    @abstractmethod
    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (..., D) to (y (..., D), log |det dy/dx| (...))."""

    @abstractmethod
    def inverse(self, y: Tensor) -> Tensor:
        """y (..., D) to x (..., D)."""

    def _call(self, x: Tensor) -> Tensor:
        return self.call_and_ladj(x)[0]

    def _inverse(self, y: Tensor) -> Tensor:
        return self.inverse(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self.call_and_ladj(x)[1]


class UnivariateBijection(Bijection):
    """Base of bijections of each feature by itself: x (..., D) to (y, log |dy/dx|), both (..., D)."""

    domain = constraints.real
    codomain = constraints.real


class LazyTransform(nn.Module, ABC):
    """Base of modules that return a bijection given the context."""

    @abstractmethod
    def forward(self, context: Tensor | None) -> Bijection:
        """Context (B, C), or None without a condition, to a bijection of x (B, D) with B these or any."""


class Unconditional(LazyTransform):
    """Lazy transform that returns one bijection whatever the context."""

    def __init__(self, transform: Bijection) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, context: Tensor | None) -> Bijection:
        return self.transform

    def extra_repr(self) -> str:
        return repr(self.transform)


class DependentTransform(Bijection):
    """A univariate bijection as one of vectors: its log-determinants (..., D) are summed to (...)."""

    def __init__(self, univariate: UnivariateBijection) -> None:
        super().__init__()
        self.univariate = univariate

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, ladj = self.univariate.call_and_ladj(x)
        return y, ladj.sum(dim=-1)

    def inverse(self, y: Tensor) -> Tensor:
        return self.univariate.inverse(y)


class InverseTransform(Bijection):
    """The inverse of a bijection of vectors; its log-determinant takes a pass of each direction."""

    def __init__(self, transform: Bijection) -> None:
        super().__init__()
        self.transform = transform

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.transform.inverse(x)
        return y, -self.transform.log_abs_det_jacobian(y, x)

    def inverse(self, y: Tensor) -> Tensor:
        return self.transform.call_and_ladj(y)[0]


class ZukoTransform(Bijection):
    """A transform of zuko as a `Bijection`: the one place where zuko's untyped calls are given types."""

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.transform = transform

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return cast(Any, self.transform).call_and_ladj(x)

    def inverse(self, y: Tensor) -> Tensor:
        return cast(Any, self.transform.inv)(y)

    def __repr__(self) -> str:
        return repr(self.transform)


class RescaleTransform(Bijection):
    """The increasing linear map of [low, high] onto [start, stop], for all features alike.

    The inverse is clamped to [low, high], which rounding might leave.
    """

    def __init__(self, low: float, high: float, start: float, stop: float) -> None:
        super().__init__()
        self.low, self.high, self.start = low, high, start
        self.scale = (stop - start) / (high - low)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_scale = x.shape[-1] * math.log(self.scale)
        return self.scale * (x - self.low) + self.start, torch.full_like(x[..., 0], log_scale)

    def inverse(self, y: Tensor) -> Tensor:
        return ((y - self.start) / self.scale + self.low).clamp(self.low, self.high)

    def __repr__(self) -> str:
        return f"RescaleTransform(low={self.low:g}, high={self.high:g}, start={self.start:g}, scale={self.scale:g})"
