"""Log-densities along an ODE that carries a standard normal to data: pure functions of its field.

The instantaneous change of variables, d log p / dt = -div v (Chen et al., arXiv:1806.07366), integrated from the
data back to the noise together with the state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from .ode import Integrator, VectorField, dopri5

Divergence = Callable[[VectorField, Tensor, Tensor], tuple[Tensor, Tensor]]
"""divergence(field, x (B, D), t (B,)) -> (field at x, its divergence (B,))."""


def normal_log_density(z: Tensor) -> Tensor:
    """Standard normal log-density of rows (B, D), shape (B,), nats."""
    return -0.5 * (z.square() + math.log(2 * math.pi)).sum(dim=1)


def exact_divergence(field: VectorField, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Trace of the Jacobian, one backward pass per dimension."""
    return _divergence(field, x, t, torch.eye(x.shape[1], dtype=x.dtype, device=x.device))


def hutchinson(probe: Tensor) -> Divergence:
    """Unbiased estimate with one random probe (B, D) of unit covariance: e^T (dv/dx) e, arXiv:1810.01367."""
    return lambda field, x, t: _divergence(field, x, t, probe[None])


def _divergence(field: VectorField, x: Tensor, t: Tensor, probes: Tensor) -> tuple[Tensor, Tensor]:
    """Field and the sum of e^T (dv/dx) e over probes e: (n, D), or (n, B, D) for one of each sample's own."""
    keep = torch.is_grad_enabled()  # the caller wants to differentiate the result
    with torch.enable_grad():
        x = x if keep and x.requires_grad else x.detach().requires_grad_()
        v = field(x, t)
        trace = torch.zeros_like(x[:, 0])
        for probe in probes if v.requires_grad else ():
            product = torch.autograd.grad((v * probe).sum(), x, create_graph=keep, retain_graph=True, allow_unused=True)
            # no path to x at all: a network at its zero start, a field at rest
            trace = trace if product[0] is None else trace + (product[0] * probe).sum(dim=1)
    return (v, trace) if keep else (v.detach(), trace.detach())


def ode_log_prob(field: VectorField, x: Tensor, *, divergence: Divergence, tolerance: float) -> Tensor:
    """Log-density (B,) of rows x (B, D) under the flow of `field` from a standard normal at t = 0 to t = 1."""
    return log_prob_along(field, x, (1.0, 0.0), divergence=divergence, integrate=partial(dopri5, tolerance=tolerance))


def log_prob_along(
    field: VectorField, x: Tensor, times: Sequence[float], *, divergence: Divergence, integrate: Integrator
) -> Tensor:
    """The same by any integrator, along times that fall from 1 to 0."""

    def augmented(state: Tensor, t: Tensor) -> Tensor:
        v, trace = divergence(field, state[:, :-1], t)
        return torch.cat((v, trace[:, None]), dim=1)

    end = integrate(augmented, torch.cat((x, torch.zeros_like(x[:, :1])), dim=1), times)
    return normal_log_density(end[:, :-1]) + end[:, -1]
