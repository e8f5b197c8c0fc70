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
from torch.nn import functional as F

from .ode import Integrator, VectorField, dopri5

Divergence = Callable[[VectorField, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""divergence(field, x (B, D), t (B,)) -> (field at x, its divergence (B,), squared norm of its Jacobian (B,))."""


def normal_log_density(z: Tensor) -> Tensor:
    """Standard normal log-density of rows (B, D), shape (B,), nats."""
    return -0.5 * (z.square() + math.log(2 * math.pi)).sum(dim=1)


def exact_divergence(field: VectorField, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Trace and squared Frobenius norm of the Jacobian, one backward pass per dimension."""
    return _divergence(field, x, t, torch.eye(x.shape[1], dtype=x.dtype, device=x.device))


def hutchinson(probe: Tensor) -> Divergence:
    """Unbiased estimates with one random probe e (B, D) of unit covariance: e^T (dv/dx) e, arXiv:1810.01367, and
    |e^T (dv/dx)|^2, arXiv:2002.02798.
    """
    return lambda field, x, t: _divergence(field, x, t, probe[None])


def _divergence(field: VectorField, x: Tensor, t: Tensor, probes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Field, and sums of e^T (dv/dx) e and |e^T (dv/dx)|^2 over probes e: (n, D), or (n, B, D), each sample's own."""
    keep = torch.is_grad_enabled()  # the caller wants to differentiate the result
    with torch.enable_grad():
        x = x if keep and x.requires_grad else x.detach().requires_grad_()
        v = field(x, t)
        trace = norm = torch.zeros_like(x[:, 0])
        for probe in probes if v.requires_grad else ():
            (row,) = torch.autograd.grad((v * probe).sum(), x, create_graph=keep, retain_graph=True, allow_unused=True)
            if row is not None:  # else no path to x at all: a network at its zero start, a field at rest
                trace, norm = trace + (row * probe).sum(dim=1), norm + row.square().sum(dim=1)
    return (v, trace, norm) if keep else (v.detach(), trace.detach(), norm.detach())


def ode_log_prob(field: VectorField, x: Tensor, *, divergence: Divergence, tolerance: float) -> Tensor:
    """Log-density (B,) of rows x (B, D) under the flow of `field` from a standard normal at t = 0 to t = 1."""
    integrate = partial(dopri5, tolerance=tolerance)

    def augmented(state: Tensor, t: Tensor) -> Tensor:
        v, trace, _ = divergence(field, state[:, :-1], t)
        return torch.cat((v, trace[:, None]), dim=1)

    end = integrate(augmented, F.pad(x, (0, 1)), (1.0, 0.0))
    return normal_log_density(end[:, :-1]) + end[:, -1]


def log_prob_and_roughness(
    field: VectorField, x: Tensor, times: Sequence[float], *, divergence: Divergence, integrate: Integrator
) -> tuple[Tensor, Tensor]:
    """The same by any integrator along times that fall from 1 to 0, and the path's roughness, both (B,).

    Roughness is the time integral of |v|^2 + |dv/dx|^2. A field that is fitted along few fixed steps must be kept from
    what such steps cannot follow, or it is fitted to their errors (Finlay et al., arXiv:2002.02798, eqs. 9 and 12).
    """

    def augmented(state: Tensor, t: Tensor) -> Tensor:
        v, trace, norm = divergence(field, state[:, :-2], t)
        return torch.cat((v, torch.stack((trace, -v.square().sum(dim=1) - norm), dim=1)), dim=1)

    end = integrate(augmented, F.pad(x, (0, 2)), times)
    return normal_log_density(end[:, :-2]) + end[:, -2], end[:, -1]
