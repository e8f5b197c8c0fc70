"""Univariate bijections with parameters, and transforms that apply one to each feature.

Additive: Dinh et al., "NICE", arXiv:1410.8516. Affine: Dinh et al., "RealNVP", arXiv:1605.08803. Splines and mixtures
of logistics are in the files of the families named after them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from ...layout import Layout
from .bijection import Bijection, DependentTransform, LazyTransform, UnivariateBijection


class Univariate(Protocol):
    """A family of bijections of the line, of an interval or of a circle, with P unconstrained parameters.

    Parameters of zero give the identity, or nearly so.
    """

    @property
    def size(self) -> int:
        """P, parameters per feature."""
        ...

    def __call__(self, parameters: Tensor) -> UnivariateBijection:
        """Parameters (..., P, D) to a bijection of x (..., D), feature by feature."""
        ...


class AffineTransform(UnivariateBijection):
    """y = exp(log_scale) x + shift, all of shape (..., D).

    >>> AffineTransform(shift=torch.ones(2), log_scale=torch.zeros(2)).call_and_ladj(torch.zeros(2))
    (tensor([1., 1.]), tensor([0., 0.]))
    """

    def __init__(self, shift: Tensor, log_scale: Tensor) -> None:
        super().__init__()
        self.shift, self.log_scale = shift, log_scale

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * self.log_scale.exp() + self.shift, self.log_scale.expand_as(x)

    def inverse(self, y: Tensor) -> Tensor:
        return (y - self.shift) * (-self.log_scale).exp()


@dataclass(frozen=True)
class Additive:
    """Shifts.

    >>> shift = Additive()(torch.full((1, 3), 2.0))  # P = 1 parameter for each of D = 3 features
    >>> shift.call_and_ladj(torch.zeros(3))
    (tensor([2., 2., 2.]), tensor([0., 0., 0.]))
    """

    size: int = 1

    def __call__(self, parameters: Tensor) -> UnivariateBijection:
        shift = parameters[..., 0, :]
        return AffineTransform(shift, torch.zeros_like(shift))


@dataclass(frozen=True)
class Affine:
    """Shifts and scales; |log scale| stays below `bound`.

    The scales of stacked transforms multiply, also far from the training data. With a wide bound, a few rare samples
    would get densities of almost zero.

    >>> affine = Affine()(torch.tensor([[1.0], [0.5]]))  # shift and raw log scale of one feature
    >>> affine(torch.tensor([0.0])), affine.inverse(torch.tensor([1.0]))
    (tensor([1.]), tensor([0.]))
    """

    bound: float = 2.0
    size: int = 2

    def __call__(self, parameters: Tensor) -> UnivariateBijection:
        shift, scale = parameters.unbind(-2)
        return AffineTransform(shift, scale / (1 + scale.abs() / self.bound))


class ContextParameter(nn.Module):
    """A parameter tensor that is linear in the context: `initial.shape` without one, else (B, *initial.shape).

    >>> parameter = ContextParameter(torch.ones(3), context_features=2)
    >>> parameter(torch.zeros(5, 2)).shape
    torch.Size([5, 3])
    """

    no_weight_decay: ClassVar[tuple[str, ...]] = ("constant",)

    def __init__(self, initial: Tensor, context_features: int) -> None:
        super().__init__()
        self.constant = nn.Parameter(initial)
        self.slope = nn.Parameter(torch.zeros(*initial.shape, context_features))

    def forward(self, context: Tensor | None) -> Tensor:
        if context is None:
            return self.constant
        return self.constant + torch.tensordot(context, self.slope.movedim(-1, 0), dims=1)

    def extra_repr(self) -> str:
        return f"shape={tuple(self.constant.shape)}, context_features={self.slope.shape[-1]}"


class Elementwise(LazyTransform):
    """Lazy transform of each feature by itself, with parameters linear in the context; starts as the identity.

    >>> from maquette.core.spaces import Vector
    >>> lazy = Elementwise(Layout(Vector(dim=3), Vector(dim=2)), Affine())
    >>> lazy(torch.randn(5, 2))(torch.ones(5, 3)).unique().tolist()
    [1.0]
    """

    def __init__(self, layout: Layout, univariate: Univariate) -> None:
        super().__init__()
        self.univariate = univariate
        self.parameter = ContextParameter(torch.zeros(univariate.size, layout.features), layout.context_features)

    def forward(self, context: Tensor | None) -> Bijection:
        return DependentTransform(self.univariate(self.parameter(context)))

    def extra_repr(self) -> str:
        return f"univariate={self.univariate}"
