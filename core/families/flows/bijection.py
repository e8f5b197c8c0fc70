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

    A subclass defines two methods. The interface of torch, `transform(x)`, `transform.inv(y)` and
    `log_abs_det_jacobian`, follows from them.

    >>> class Double(Bijection):
    ...     def call_and_ladj(self, x):
    ...         return 2 * x, torch.full_like(x[..., 0], x.shape[-1] * math.log(2))
    ...
    ...     def inverse(self, y):
    ...         return y / 2
    >>> Double()(torch.ones(3)), Double().inv(torch.ones(3))
    (tensor([2., 2., 2.]), tensor([0.5000, 0.5000, 0.5000]))
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
    """Base of bijections of each feature by itself: x (..., D) to (y, log |dy/dx|), both (..., D).

    >>> class Cube(UnivariateBijection):
    ...     def call_and_ladj(self, x):
    ...         return x**3, (3 * x**2).log()
    ...
    ...     def inverse(self, y):
    ...         return y.sign() * y.abs() ** (1 / 3)
    >>> Cube().log_abs_det_jacobian(torch.ones(3), torch.ones(3))
    tensor([1.0986, 1.0986, 1.0986])
    """

    domain = constraints.real
    codomain = constraints.real


class LazyTransform(nn.Module, ABC):
    """Base of modules that return a bijection given the context.

    >>> class Shift(LazyTransform):
    ...     def __init__(self, context_features, features):
    ...         super().__init__()
    ...         self.network = nn.Linear(context_features, features)
    ...
    ...     def forward(self, context):
    ...         shift = self.network(context)
    ...         return DependentTransform(AffineTransform(shift, torch.zeros_like(shift)))
    >>> from maquette.core.families.flows.elementwise import AffineTransform
    >>> Shift(2, 3)(torch.zeros(5, 2))(torch.zeros(5, 3)).shape
    torch.Size([5, 3])
    """

    @abstractmethod
    def forward(self, context: Tensor | None) -> Bijection:
        """Return the bijection of x (B, D) for context (B, C), or None without a condition."""


class Unconditional(LazyTransform):
    """Lazy transform that returns the same bijection for every context.

    >>> Unconditional(RescaleTransform(0.0, 1.0, -5.0, 5.0))
    Unconditional(RescaleTransform(low=0, high=1, start=-5, scale=10))
    """

    def __init__(self, transform: Bijection) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, context: Tensor | None) -> Bijection:
        return self.transform

    def extra_repr(self) -> str:
        return repr(self.transform)


class DependentTransform(Bijection):
    """A univariate bijection as a bijection of vectors: log-determinants (..., D) are summed to (...).

    >>> from maquette.core.families.flows.elementwise import AffineTransform
    >>> affine = AffineTransform(torch.zeros(3), torch.ones(3))
    >>> DependentTransform(affine).call_and_ladj(torch.ones(3))[1]
    tensor(3.)
    """

    def __init__(self, univariate: UnivariateBijection) -> None:
        super().__init__()
        self.univariate = univariate

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, ladj = self.univariate.call_and_ladj(x)
        return y, ladj.sum(dim=-1)

    def inverse(self, y: Tensor) -> Tensor:
        return self.univariate.inverse(y)


class InverseTransform(Bijection):
    """The inverse of a bijection of vectors; its log-determinant takes one pass in each direction.

    >>> inverse = InverseTransform(RescaleTransform(0.0, 1.0, -5.0, 5.0))
    >>> inverse.call_and_ladj(torch.zeros(1))
    (tensor([0.5000]), tensor(-2.3026))
    """

    def __init__(self, transform: Bijection) -> None:
        super().__init__()
        self.transform = transform

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.transform.inverse(x)
        return y, -self.transform.log_abs_det_jacobian(y, x)

    def inverse(self, y: Tensor) -> Tensor:
        return self.transform.call_and_ladj(y)[0]


class ZukoTransform(Bijection):
    """A transform of zuko as a `Bijection`; zuko's methods have no types.

    >>> from zuko.transforms import PermutationTransform
    >>> ZukoTransform(PermutationTransform(torch.tensor([1, 0]))).inverse(torch.tensor([3.0, 4.0]))
    tensor([4., 3.])
    """

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

    The inverse is clamped to [low, high], because rounding could leave the interval.

    >>> RescaleTransform(low=0.0, high=1.0, start=-5.0, stop=5.0)(torch.tensor([0.0, 0.5, 1.0]))
    tensor([-5.,  0.,  5.])
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
