"""Log-densities along an ODE that carries Gaussian noise to data: pure functions of its vector field.

The instantaneous change of variables, d log p / dt = -div v (Chen et al., arXiv:1806.07366), is integrated from the
data back to the noise together with the state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .ode import Integrator, VectorField, dopri5

Divergence = Callable[[VectorField, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""divergence(field, x (B, D), t (B,)) -> (field at x, its divergence (B,), squared norm of its Jacobian (B,))."""

LogDensity = Callable[[Tensor], Tensor]
"""log_density(z (B, D)) -> (B,), nats."""

_PROBES_AT_ONCE = 32  # backward passes in one batch: few calls at small D, bounded memory at large D


def normal_log_density(z: Tensor, scale: float = 1.0) -> Tensor:
    """Log-density (B,) of N(0, scale^2) in every dimension of z (B, D), nats.

    >>> normal_log_density(torch.zeros(1, 2))
    tensor([-1.8379])
    """
    return -0.5 * ((z / scale).square() + math.log(2 * math.pi)).sum(dim=1) - z.shape[1] * math.log(scale)


def exact_divergence(field: VectorField, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Trace and squared Frobenius norm of the Jacobian, by one backward pass per dimension, many of them in one batch.

    >>> v, trace, norm = exact_divergence(lambda x, t: 3 * x, torch.ones(1, 2), torch.zeros(1))
    >>> trace, norm
    (tensor([6.]), tensor([18.]))
    """
    return _divergence(field, x, t, torch.eye(x.shape[1], dtype=x.dtype, device=x.device))


def hutchinson(probe: Tensor) -> Divergence:
    """Unbiased estimates with one random probe e (B, D) of unit covariance.

    The divergence is e^T (dv/dx) e (Grathwohl et al., arXiv:1810.01367), the squared norm |e^T (dv/dx)|^2 (Finlay et
    al., arXiv:2002.02798).

    >>> divergence = hutchinson(torch.tensor([[1.0, -1.0]]))
    >>> v, trace, norm = divergence(lambda x, t: 3 * x, torch.ones(1, 2), torch.zeros(1))
    >>> trace, norm
    (tensor([6.]), tensor([18.]))
    """
    return lambda field, x, t: _divergence(field, x, t, probe[None])


def _divergence(field: VectorField, x: Tensor, t: Tensor, probes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Field, and sums of e^T (dv/dx) e and |e^T (dv/dx)|^2 over probes e: (n, D), or (n, B, D), one per sample."""
    keep = torch.is_grad_enabled()  # the caller wants to differentiate the result
    # torch's batched backward pass cannot be differentiated through a group normalisation
    at_once = 1 if keep else _PROBES_AT_ONCE
    with torch.enable_grad():
        x = x if keep and x.requires_grad else x.detach().requires_grad_()
        v = field(x, t)
        trace = norm = torch.zeros_like(x[:, 0])
        for directions in probes.split(at_once) if v.requires_grad else ():
            e = directions.unsqueeze(1).expand(-1, *v.shape) if directions.ndim == 2 else directions
            options = {"create_graph": keep, "retain_graph": True, "allow_unused": True}
            if len(e) == 1:
                (row,) = torch.autograd.grad(v, x, e[0], **options)
                rows = None if row is None else row[None]
            else:
                (rows,) = torch.autograd.grad(v, x, e, is_grads_batched=True, **options)
            if rows is not None:  # None if the field does not depend on x, as in a network that starts at zero
                trace, norm = trace + (rows * e).sum(dim=(0, 2)), norm + rows.square().sum(dim=(0, 2))
    return (v, trace, norm) if keep else (v.detach(), trace.detach(), norm.detach())


def ode_log_prob(
    field: VectorField,
    x: Tensor,
    *,
    t0: float = 0.0,
    t1: float = 1.0,
    scale: float = 1.0,
    base: LogDensity = normal_log_density,
    divergence: Divergence = exact_divergence,
    integrate: Integrator = dopri5,
) -> Tensor:
    """Log-density (B,) of samples x (B, D) under the flow of a field, nats.

    Args:
        field: any velocity field; that of a denoiser is `ode.probability_flow(denoiser)`.
        x: samples at time t1.
        t0: time of the noise.
        t1: time of the data.
        scale: factor on draws of the base that makes the noise.
        base: log-density (B,) of codes (B, D); standard normal if not given.
        divergence: exact, or an estimate.
        integrate: integrator, from t1 back to t0; `ode.in_log_time(ode.dopri5)` suits noise levels.

    The denoiser of data N(0, 1), with noise levels as times: the density is that of N(0, 1 + t1^2).

    >>> from maquette.core.samplers.ode import probability_flow
    >>> field = probability_flow(lambda x, sigma: x / (1 + sigma**2)[:, None])
    >>> round(ode_log_prob(field, torch.zeros(1, 2), t0=80.0, t1=0.01, scale=80.0).item(), 2)
    -1.84
    """

    def augmented(state: Tensor, t: Tensor) -> Tensor:
        v, trace, _ = divergence(field, state[:, :-1], t)
        return torch.cat((v, trace[:, None]), dim=1)

    end = integrate(augmented, F.pad(x, (0, 1)), (t1, t0))
    return base(end[:, :-1] / scale) - x.shape[1] * math.log(scale) + end[:, -1]


def log_prob_and_roughness(
    field: VectorField,
    x: Tensor,
    times: Sequence[float],
    *,
    base: LogDensity = normal_log_density,
    divergence: Divergence,
    integrate: Integrator,
) -> tuple[Tensor, Tensor]:
    """Log-density of x (B, D) under a flow from a base distribution, and the roughness of its path, both (B,).

    Roughness is the time integral of |v|^2 + |dv/dx|^2. Training penalises it, because few fixed steps are exact enough
    only for a smooth field (Finlay et al., arXiv:2002.02798, eqs. 9 and 12).

    Args:
        field: the velocity field.
        x: samples.
        times: fall from 1 (data) to 0 (noise).
        base: log-density (B,) of codes (B, D); standard normal if not given.
        divergence: exact, or an estimate.
        integrate: any integrator.

    A field that moves all samples by 2 keeps the density, and its roughness is |v|^2 = 4:

    >>> from maquette.core.samplers.ode import rk4
    >>> shift = lambda x, t: torch.full_like(x, 2.0)
    >>> log_prob_and_roughness(shift, torch.tensor([[2.0]]), [1.0, 0.0], divergence=exact_divergence, integrate=rk4)
    (tensor([-0.9189]), tensor([4.]))
    """

    def augmented(state: Tensor, t: Tensor) -> Tensor:
        v, trace, norm = divergence(field, state[:, :-2], t)
        return torch.cat((v, torch.stack((trace, -v.square().sum(dim=1) - norm), dim=1)), dim=1)

    end = integrate(augmented, F.pad(x, (0, 2)), times)
    return base(end[:, :-2]) + end[:, -2], end[:, -1]
