"""The laws that linear operators must keep."""

from __future__ import annotations

import torch
from torch import Tensor

from ..operators import LinearOperator


def check_operator(operator: LinearOperator, x: Tensor, y: Tensor, *, tolerance: float = 1e-5) -> None:
    """Assert that an operator is linear, that its adjoint is one, and that its normal is both after one another.

    Args:
        operator: A.
        x: samples (B, ...), B at least 2, such as standard normal ones.
        y: measurements of B samples.
        tolerance: of errors, as a fraction of the largest number that is compared.

    Raises:
        AssertionError: with the law that is broken.

    >>> class Twice(LinearOperator):
    ...     def forward(self, x):
    ...         return 2j * x
    ...     def adjoint(self, y):
    ...         return 2j * y
    >>> x, y = torch.randn(2, 3, 4, dtype=torch.complex64)
    >>> check_operator(Twice(), x, y)
    Traceback (most recent call last):
    AssertionError: adjoint: <A x, y> and <x, A^H y> differ by ...
    """

    def agree(law: str, one: Tensor, other: Tensor) -> None:
        scale = max(float(one.abs().max()), float(other.abs().max()), torch.finfo(torch.float32).tiny)
        error = float((one - other).abs().max()) / scale
        assert error <= tolerance, f"{law} differ by {error:.1g} of their largest value, more than {tolerance:g}."

    measured, back = operator.forward(x), operator.adjoint(y)
    assert measured.shape == y.shape, f"forward: expected measurements {tuple(y.shape)}, found {tuple(measured.shape)}."
    assert back.shape == x.shape, f"adjoint: expected samples {tuple(x.shape)}, found {tuple(back.shape)}."
    agree("adjoint: <A x, y> and <x, A^H y>", _inner(measured, y), _inner(x, back))
    agree("normal: A^H A x and A^H (A x)", operator.normal(x), operator.adjoint(measured))
    for name, function, value in (("forward", operator.forward, x), ("adjoint", operator.adjoint, y)):
        factor, other = _factors(value), value.flip(0)
        agree(
            f"{name}: A (a u + v) and a A u + A v",
            function(factor * value + other),
            factor * function(value) + function(other),
        )


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """The inner product of each sample, (B,)."""
    return (a.conj() * b).flatten(1).sum(1)


def _factors(value: Tensor) -> Tensor:
    """A scalar that is no real number where values are complex."""
    return torch.tensor(1.5 - 0.5j if value.is_complex() else 1.5, dtype=value.dtype, device=value.device)
