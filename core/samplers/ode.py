"""Integrators of dx/dt = f(x, t): pure functions of a field, a start and a grid of times.

The fixed-step ones unroll into a plain sequence of operations, so that a sampler built on them can be exported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

from torch import Tensor

VectorField = Callable[[Tensor, Tensor], Tensor]
"""A field: f(x of shape (B, ...), t of shape (B,)) -> dx/dt of x's shape."""

Integrator = Callable[[VectorField, Tensor, Sequence[float]], Tensor]
"""integrate(field, x, times) -> x at the last time; times may fall as well as rise."""


Method = Literal["euler", "midpoint", "heun", "rk4", "dopri5"]


def _at(x: Tensor, time: float) -> Tensor:
    return x.new_full((x.shape[0],), time)


def euler(field: VectorField, x: Tensor, times: Sequence[float]) -> Tensor:
    """First order, one evaluation per step."""
    for t, after in pairwise(times):
        x = x + (after - t) * field(x, _at(x, t))
    return x


def midpoint(field: VectorField, x: Tensor, times: Sequence[float]) -> Tensor:
    """Second order, two evaluations per step; never evaluates at the last time."""
    for t, after in pairwise(times):
        half = (after - t) / 2
        middle = x + half * field(x, _at(x, t))
        x = x + 2 * half * field(middle, _at(x, t + half))
    return x


def heun(field: VectorField, x: Tensor, times: Sequence[float]) -> Tensor:
    """Second order, two evaluations per step (the trapezoidal rule on an Euler guess)."""
    for t, after in pairwise(times):
        slope = field(x, _at(x, t))
        guess = x + (after - t) * slope
        x = x + (after - t) / 2 * (slope + field(guess, _at(x, after)))
    return x


def rk4(field: VectorField, x: Tensor, times: Sequence[float]) -> Tensor:
    """Fourth order, four evaluations per step."""
    for t, after in pairwise(times):
        step, middle = after - t, _at(x, (t + after) / 2)
        k1 = field(x, _at(x, t))
        k2 = field(x + step / 2 * k1, middle)
        k3 = field(x + step / 2 * k2, middle)
        k4 = field(x + step * k3, _at(x, after))
        x = x + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x


def dopri5(field: VectorField, x: Tensor, times: Sequence[float], *, tolerance: float = 1e-5) -> Tensor:
    """Adaptive fifth order (Dormand & Prince 1980) from the first time to the last; differentiable.

    The step is chosen for the whole batch, so a row depends on its neighbours within the tolerance.
    """
    from torchdiffeq import odeint  # here, because an exported sampler never needs it

    span = x.new_tensor([times[0], times[-1]])
    path = odeint(lambda t, x: field(x, t.expand(x.shape[0])), x, span, rtol=tolerance, atol=tolerance)
    assert isinstance(path, Tensor)
    return path[-1]


INTEGRATORS: dict[Method, Integrator] = {
    "euler": euler,
    "midpoint": midpoint,
    "heun": heun,
    "rk4": rk4,
    "dopri5": dopri5,
}
