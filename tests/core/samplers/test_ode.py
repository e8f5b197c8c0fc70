"""Integrators converge at their order, forwards and backwards, on a field whose flow is known."""

import math

import pytest
import torch
from maquette.core.samplers.ode import INTEGRATORS, dopri5
from maquette.core.samplers.schedules import linear_schedule

ORDERS = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4}


def swirl(x, t):
    """dx/dt = (1 + t) J x: a rotation by t + t^2 / 2."""
    return (1 + t)[:, None] * torch.stack((-x[:, 1], x[:, 0]), dim=1)


def turned(x, angle):
    c, s = math.cos(angle), math.sin(angle)
    return x @ torch.tensor([[c, s], [-s, c]], dtype=x.dtype)


X = torch.tensor([[1.0, 0.0], [0.3, -2.0]], dtype=torch.float64)


@pytest.mark.parametrize("name", ORDERS)
def test_order_of_convergence(name):
    def error(steps):
        return (INTEGRATORS[name](swirl, X, linear_schedule(0, 1, steps)) - turned(X, 1.5)).abs().max().item()

    assert math.log2(error(20) / error(40)) == pytest.approx(ORDERS[name], abs=0.15)


@pytest.mark.parametrize("name", INTEGRATORS)
def test_backwards_undoes_forwards(name):
    integrate, times = INTEGRATORS[name], linear_schedule(0, 1, 200)
    there = integrate(swirl, X, times)
    back = integrate(swirl, there, times[::-1])
    torch.testing.assert_close(back, X, rtol=0, atol=0.03 if name == "euler" else 1e-4)


def test_adaptive_steps_meet_their_tolerance():
    torch.testing.assert_close(dopri5(swirl, X, (0, 1), tolerance=1e-9), turned(X, 1.5), rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", ORDERS)
def test_no_step_is_no_motion(name):
    assert torch.equal(INTEGRATORS[name](swirl, X, [0.5]), X)


def test_a_grid_ends_where_it_should():
    assert linear_schedule(0, 1, 4) == [0, 0.25, 0.5, 0.75, 1]
