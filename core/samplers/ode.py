"""Integrators of dx/dt = f(x, t): pure functions of a vector field, a start and a schedule of times.

Those with fixed steps are plain sequences of operations, so that a sampler built on them can be exported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Literal, Protocol

from torch import Tensor

from .callbacks import Callback, SamplerStep

VectorField = Callable[[Tensor, Tensor], Tensor]
"""field(x (B, ...), t (B,)) -> dx/dt (B, ...)."""

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""denoise(x (B, D), sigma (B,)) -> E[clean | clean + sigma n = x], (B, D)."""

Method = Literal["euler", "midpoint", "heun", "rk4", "dopri5"]


class Integrator(Protocol):
    """Integrates a field from the first of the times to the last; times may fall as well as rise."""

    def __call__(
        self, field: VectorField, x: Tensor, times: Sequence[float], *, callback: Callback | None = None
    ) -> Tensor:
        """x (B, ...) at times[0] to x (B, ...) at times[-1]; `callback` gets the state at each time after the first."""
        ...


def euler(field: VectorField, x: Tensor, times: Sequence[float], *, callback: Callback | None = None) -> Tensor:
    """First order, one evaluation per step.

    >>> import torch
    >>> euler(lambda x, t: -x, torch.ones(1), [0.0, 0.5, 1.0])
    tensor([0.2500])
    """
    return _fixed_steps(_euler_step, field, x, times, callback)


def midpoint(field: VectorField, x: Tensor, times: Sequence[float], *, callback: Callback | None = None) -> Tensor:
    """Second order, two evaluations per step; never evaluates at the last time.

    >>> import torch
    >>> midpoint(lambda x, t: -x, torch.ones(1), [0.0, 0.5, 1.0])  # exp(-1) = 0.3679
    tensor([0.3906])
    """
    return _fixed_steps(_midpoint_step, field, x, times, callback)


def heun(field: VectorField, x: Tensor, times: Sequence[float], *, callback: Callback | None = None) -> Tensor:
    """Second order, two evaluations per step: the trapezoidal rule, with Euler's step for the state at its end.

    >>> import torch
    >>> heun(lambda x, t: -x, torch.ones(1), [0.0, 0.5, 1.0])
    tensor([0.3906])
    """
    return _fixed_steps(_heun_step, field, x, times, callback)


def heun_to_zero(field: VectorField, x: Tensor, times: Sequence[float], *, callback: Callback | None = None) -> Tensor:
    """Heun's method, but Euler's for a step to time zero, where a probability flow is not defined.

    The deterministic sampler of Karras et al., arXiv:2206.00364, algorithm 1.

    >>> import torch
    >>> field = probability_flow(lambda x, sigma: x / (1 + sigma**2)[:, None])  # data N(0, 1)
    >>> times = [1.0, 0.8, 0.6, 0.4, 0.2, 0.1, 0.05, 0.02, 0.0]
    >>> heun_to_zero(field, torch.tensor([[2.0]]), times)  # 2 / sqrt(2) = 1.414
    tensor([[1.41...]])
    """
    return _fixed_steps(_heun_to_zero_step, field, x, times, callback)


def rk4(field: VectorField, x: Tensor, times: Sequence[float], *, callback: Callback | None = None) -> Tensor:
    """The classical Runge-Kutta method: fourth order, four evaluations per step.

    >>> import torch
    >>> rk4(lambda x, t: -x, torch.ones(1), [0.0, 0.5, 1.0])
    tensor([0.3682])
    """
    return _fixed_steps(_rk4_step, field, x, times, callback)


def dopri5(
    field: VectorField,
    x: Tensor,
    times: Sequence[float],
    *,
    tolerance: float = 1e-5,
    callback: Callback | None = None,
) -> Tensor:
    """Adaptive steps of fifth order (Dormand & Prince 1980); differentiable.

    The whole batch has one step size, so a sample depends on the others within the tolerance. The times between the
    first and the last do not change the steps: `callback` gets the states there once the integration is done.

    Args:
        field: the vector field.
        x: the start, (B, ...).
        times: two or more.
        tolerance: absolute and relative error allowed per step.
        callback: called for each time after the first.

    >>> import torch
    >>> dopri5(lambda x, t: -x, torch.ones(1), [0.0, 1.0])
    tensor([0.3679])
    """
    from torchdiffeq import odeint  # here, because an exported sampler never needs it

    knots = (times[0], times[-1]) if callback is None else times
    path = odeint(lambda t, x: field(x, t.expand(x.shape[0])), x, x.new_tensor(knots), rtol=tolerance, atol=tolerance)
    assert isinstance(path, Tensor)
    if callback is not None:
        for number, (time, state) in enumerate(zip(times[1:], path[1:], strict=True)):
            callback(SamplerStep(number, state, time))
    return path[-1]


INTEGRATORS: dict[Method, Integrator] = {
    "euler": euler,
    "midpoint": midpoint,
    "heun": heun,
    "rk4": rk4,
    "dopri5": dopri5,
}


def in_log_time(integrate: Integrator) -> Integrator:
    """The same integrator with ln t as its time, for positive times such as noise levels.

    Adaptive steps then become small with the noise, and stay above zero, where a probability flow is not defined.

    >>> import torch
    >>> integrate = in_log_time(rk4)
    >>> integrate(lambda x, t: x / t, torch.ones(1), [1.0, 2.0, 4.0])  # dx/dt = x / t: x grows in proportion to t
    tensor([3.9940])
    """

    def log_integrate(
        field: VectorField, x: Tensor, times: Sequence[float], *, callback: Callback | None = None
    ) -> Tensor:
        def log_field(x: Tensor, log_t: Tensor) -> Tensor:
            t = log_t.exp()
            return t.reshape(-1, *(1,) * (x.ndim - 1)) * field(x, t)

        def with_time(done: SamplerStep) -> None:
            assert callback is not None
            callback(replace(done, time=times[done.step + 1]))

        log_times = [math.log(time) for time in times]
        return integrate(log_field, x, log_times, callback=with_time if callback is not None else None)

    return log_integrate


def probability_flow(denoise: Denoiser) -> VectorField:
    """The field dx/dsigma = (x - D(x; sigma)) / sigma, whose flow has the marginals of data with noise sigma.

    The probability-flow ODE of Song et al., arXiv:2011.13456, for noise levels as times: Karras et al.,
    arXiv:2206.00364, eqs. 1 and 3. Not defined at sigma = 0.

    >>> import torch
    >>> field = probability_flow(lambda x, sigma: x / (1 + sigma**2)[:, None])  # data N(0, 1)
    >>> field(torch.tensor([[2.0]]), torch.tensor([1.0]))
    tensor([[1.]])
    """
    return lambda x, sigma: (x - denoise(x, sigma)) / sigma[:, None]


def _fixed_steps(
    step: Callable[[VectorField, Tensor, float, float], Tensor],
    field: VectorField,
    x: Tensor,
    times: Sequence[float],
    callback: Callback | None,
) -> Tensor:
    """Take step(field, x, time, next time) from each time to the next."""
    for number, (t, after) in enumerate(pairwise(times)):
        x = step(field, x, t, after)
        if callback is not None:
            callback(SamplerStep(number, x, after))
    return x


def _at(x: Tensor, time: float) -> Tensor:
    return x.new_full((x.shape[0],), time)


def _euler_step(field: VectorField, x: Tensor, t: float, after: float) -> Tensor:
    return x + (after - t) * field(x, _at(x, t))


def _midpoint_step(field: VectorField, x: Tensor, t: float, after: float) -> Tensor:
    half = (after - t) / 2
    middle = x + half * field(x, _at(x, t))
    return x + 2 * half * field(middle, _at(x, t + half))


def _heun_step(field: VectorField, x: Tensor, t: float, after: float) -> Tensor:
    slope = field(x, _at(x, t))
    guess = x + (after - t) * slope
    return x + (after - t) / 2 * (slope + field(guess, _at(x, after)))


def _heun_to_zero_step(field: VectorField, x: Tensor, t: float, after: float) -> Tensor:
    return (_heun_step if after != 0 else _euler_step)(field, x, t, after)


def _rk4_step(field: VectorField, x: Tensor, t: float, after: float) -> Tensor:
    step, middle = after - t, _at(x, (t + after) / 2)
    k1 = field(x, _at(x, t))
    k2 = field(x + step / 2 * k1, middle)
    k3 = field(x + step / 2 * k2, middle)
    k4 = field(x + step * k3, _at(x, after))
    return x + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
