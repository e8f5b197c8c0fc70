"""Integrators converge at their order, forwards and backwards, on a field whose flow is known."""

import math

import pytest
import torch
from maquette.core.samplers.ode import (
    INTEGRATORS,
    dopri5,
    euler,
    heun,
    heun_to_zero,
    in_log_time,
    probability_flow,
    rk4,
)
from maquette.core.samplers.schedules import karras_schedule, linear_schedule

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


@pytest.mark.parametrize("name", INTEGRATORS)
def test_a_callback_gets_the_state_at_each_time_and_changes_nothing(name):
    integrate, times, seen = INTEGRATORS[name], linear_schedule(0, 1, 4), []
    end = integrate(swirl, X, times, callback=seen.append)
    assert [done.step for done in seen] == [0, 1, 2, 3]
    assert [done.time for done in seen] == times[1:]
    assert torch.equal(seen[-1].state, end)
    torch.testing.assert_close(end, integrate(swirl, X, times), rtol=0, atol=1e-12)
    half = integrate(swirl, X, times[:3])
    torch.testing.assert_close(seen[1].state, half, rtol=0, atol=1e-4 if name == "dopri5" else 0)


def test_the_step_to_zero_is_eulers():
    """As in algorithm 1 of EDM: 2 n - 1 evaluations, none of them at zero."""
    seen = []

    def field(x, t):
        seen.append(t[0].item())
        return x / t[:, None]

    times = karras_schedule(5, 0.01, 10.0)
    end = heun_to_zero(field, X, times)
    assert len(seen) == 2 * 5 - 1
    assert min(seen) > 0
    assert torch.equal(end, euler(field, heun(field, X, times[:-1]), times[-2:]))


def test_the_probability_flow_of_a_gaussian_scales_it():
    """Data N(0, 1) with noise sigma is N(0, 1 + sigma^2)."""
    field = probability_flow(lambda x, sigma: x / (1 + sigma**2)[:, None])
    found = in_log_time(rk4)(field, X, [float(t) for t in torch.logspace(1, -2, 200)])
    torch.testing.assert_close(found, X * math.sqrt((1 + 0.01**2) / (1 + 10**2)), rtol=1e-6, atol=0)


def test_adaptive_steps_in_log_time_stay_above_zero():
    times, seen = [], []

    def field(x, t):
        times.append(t.min().item())
        return x * (t / (1 + t**2))[:, None]

    end = in_log_time(dopri5)(field, X, [80.0, 1.0, 0.002], callback=seen.append)
    assert min(times) > 0
    assert [done.time for done in seen] == [1.0, 0.002]
    assert torch.equal(seen[-1].state, end)
