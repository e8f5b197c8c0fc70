"""Rational-quadratic splines: inside, at the edges, and against zuko."""

import math

import pytest
import torch
from maquette.core.families.flows.spline import Spline, SplineConfig, SplineTransform
from maquette.core.spaces import Interval, Vector
from maquette.core.testing.bench import keyed, shaken
from zuko.transforms import MonotonicRQSTransform


def spline(scale=1.0, bins=6, bound=3.0, d=4):
    generator = torch.Generator().manual_seed(0)
    parameters = scale * torch.randn(1, Spline(bins, 1.0).size, d, generator=generator, dtype=torch.float64)
    return SplineTransform(parameters, bound)


def test_zero_parameters_make_the_identity():
    x = torch.linspace(-6, 6, 101, dtype=torch.float64)[:, None].expand(-1, 4)
    y, ladj = spline(scale=0).call_and_ladj(x)
    torch.testing.assert_close(y, x)
    torch.testing.assert_close(ladj, torch.zeros_like(x))


@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
def test_monotonic_continuous_and_invertible_everywhere(scale):
    transform = spline(scale)
    # a fine grid, and the knots themselves
    x = torch.linspace(-4, 4, 4001, dtype=torch.float64)[:, None].repeat(1, 4)
    x = torch.cat((x, transform.horizontal[0], torch.tensor([[-3.0], [3.0]]).expand(2, 4))).sort(dim=0).values
    y, ladj = transform.call_and_ladj(x)
    assert (y.diff(dim=0) >= 0).all()
    assert ladj.isfinite().all()
    torch.testing.assert_close(transform.inv(y), x, rtol=0, atol=1e-10 if scale < 2 else 1e-8)
    outside = x.abs() >= 3
    assert torch.equal(y[outside], x[outside])


def test_derivative_matches_autograd():
    transform = spline()
    x = (8 * torch.rand(200, 4, dtype=torch.float64) - 4).requires_grad_()
    y, ladj = transform.call_and_ladj(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(ladj, slope.log(), rtol=0, atol=1e-12)
    assert torch.equal(transform.log_abs_det_jacobian(x, y), ladj)


def test_agrees_with_zuko_on_the_same_knots():
    ours = spline()
    theirs = object.__new__(MonotonicRQSTransform)
    theirs.horizontal, theirs.vertical, theirs.derivatives = (
        knots.transpose(-1, -2).contiguous() for knots in (ours.horizontal, ours.vertical, ours.slopes)
    )
    x = 8 * torch.rand(200, 4, dtype=torch.float64) - 4
    for mine, zukos in zip(ours.call_and_ladj(x), theirs.call_and_ladj(x), strict=True):
        torch.testing.assert_close(mine, zukos, rtol=0, atol=1e-12)


def test_gradients_are_finite_at_the_edges():
    parameters = torch.zeros(1, Spline(4, 1.0).size, 1, requires_grad=True)
    x = torch.tensor([[-5.0], [5.0], [0.0], [1e6], [-5.0 + 1e-6]])
    transform = SplineTransform(parameters)
    y, ladj = transform.call_and_ladj(x)
    (y.sum() + ladj.sum() + transform.inv(x).sum()).backward()
    assert parameters.grad is not None
    assert parameters.grad.isfinite().all()


def test_features_of_an_interval_stay_in_it():
    space = Vector(dim=3, support=Interval(low=-2.0, high=5.0))
    flow = shaken(SplineConfig(transforms=2, hidden=(8,), bins=4), space, None, scale=1.0)
    x = flow.sample(500, noise=keyed(500))
    assert ((x >= -2) & (x <= 5)).all()
    uniform = SplineConfig(transforms=2).build(space)
    torch.testing.assert_close(uniform.log_prob(x.float()), torch.full((500,), -3 * math.log(7.0)))
