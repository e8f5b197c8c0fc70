"""ODE likelihoods against a Gaussian whose flow is known in closed form."""

import math
from functools import partial

import torch
from maquette.core.noise import KeyedNoise
from maquette.core.samplers.likelihood import (
    exact_divergence,
    hutchinson,
    log_prob_and_roughness,
    normal_log_density,
    ode_log_prob,
)
from maquette.core.samplers.ode import dopri5, rk4

A = torch.tensor([[0.3, -0.8, 0.1], [0.5, -0.2, 0.4], [0.0, 0.6, 0.5]], dtype=torch.float64)
X = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def linear(x, t):
    """dx/dt = A x carries N(0, 1) to N(0, e^A e^A^T)."""
    return x @ A.T


def expected():
    root = torch.linalg.matrix_exp(A)
    normal = torch.distributions.MultivariateNormal(torch.zeros(3, dtype=torch.float64), root @ root.T)
    return normal.log_prob(X)


def test_exact_trace():
    torch.testing.assert_close(
        ode_log_prob(linear, X, divergence=exact_divergence, integrate=partial(dopri5, tolerance=1e-8)),
        expected(),
        rtol=0,
        atol=1e-6,
    )


def test_hutchinson_is_unbiased():
    n = 4000
    probe = KeyedNoise(0, torch.arange(n), dtype=torch.float64).normal("probe", (3,))
    estimates = ode_log_prob(
        linear, X[:1].expand(n, 3), divergence=hutchinson(probe), integrate=partial(dopri5, tolerance=1e-5)
    )
    error = estimates.std() / math.sqrt(n)
    assert error > 0
    assert abs(estimates.mean() - expected()[0]) < 4 * error


def test_divergences_agree_with_the_jacobian():
    def field(x, t):
        return torch.sin(x) * x.sum(1, keepdim=True)

    t = torch.zeros(len(X), dtype=torch.float64)
    v, trace, norm = exact_divergence(field, X, t)
    jacobian = torch.stack([torch.autograd.functional.jacobian(lambda x: field(x[None], t)[0], x) for x in X])
    torch.testing.assert_close(v, field(X, t))
    torch.testing.assert_close(trace, jacobian.diagonal(dim1=1, dim2=2).sum(1))
    probes = [hutchinson(torch.eye(3, dtype=torch.float64)[d].expand_as(X)) for d in range(3)]
    torch.testing.assert_close(norm, jacobian.square().sum((1, 2)))
    for position, whole in ((1, trace), (2, norm)):
        torch.testing.assert_close(sum(probe(field, X, t)[position] for probe in probes), whole)


def test_roughness_of_a_linear_field():
    """Of v = A x along x(t) = exp(A (t - 1)) x: the integral of |A x(t)|^2, and |A|^2."""
    times = torch.linspace(1, 0, 33, dtype=torch.float64)
    log_density, roughness = log_prob_and_roughness(
        linear, X, times.tolist(), divergence=exact_divergence, integrate=rk4
    )
    torch.testing.assert_close(log_density, expected(), rtol=0, atol=1e-6)
    paths = torch.stack([X @ torch.linalg.matrix_exp(A * (t - 1)).T for t in times])
    kinetic = torch.trapezoid((paths @ A.T).square().sum(2), -times, dim=0)
    torch.testing.assert_close(roughness, kinetic + A.square().sum(), rtol=2e-3, atol=0)


def test_a_zero_field_has_the_normal_density():
    def zero(x, t):
        return torch.zeros_like(x)

    for divergence in (exact_divergence, hutchinson(torch.ones_like(X))):
        found = ode_log_prob(zero, X, divergence=divergence, integrate=partial(dopri5, tolerance=1e-6))
        torch.testing.assert_close(found, normal_log_density(X))


def test_likelihoods_can_be_differentiated():
    x = X[:4].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(
        ode_log_prob(linear, x, divergence=exact_divergence, integrate=partial(dopri5, tolerance=1e-8)).sum(), x
    )
    root = torch.linalg.matrix_exp(A)
    torch.testing.assert_close(gradient, -x.detach() @ torch.linalg.inv(root @ root.T), rtol=0, atol=1e-5)
