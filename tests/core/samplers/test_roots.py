"""Roots of increasing functions, also where Newton's method alone diverges."""

import pytest
import torch
from maquette.core.samplers.roots import invert


def cubic(x):
    """Flat in the middle, steep outside: Newton's steps from zero diverge."""
    return x**3 + 1e-3 * x, (3 * x**2 + 1e-3).log()


@torch.no_grad()
def bracket(f, y):
    """Bounds (low, high) of y's shape with f(low) <= y <= f(high), for f that takes all values."""

    def end(sign):
        width = torch.ones_like(y)
        while (narrow := sign * (f(y + sign * width)[0] - y) < 0).any():
            width = torch.where(narrow, 4 * width, width)
        return y + sign * width

    return end(-1.0), end(1.0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_functions_are_inverted(dtype):
    x = torch.linspace(-30, 30, 401, dtype=dtype)
    y = cubic(x)[0]
    low, high = bracket(cubic, y)
    assert ((low <= x) & (x <= high)).all()
    found = invert(cubic, y, low, high)
    torch.testing.assert_close(cubic(found)[0], y, rtol=100 * torch.finfo(dtype).eps, atol=100 * torch.finfo(dtype).eps)


def test_a_root_does_not_depend_on_others_of_the_batch():
    y = torch.tensor([0.3, -4.0, 1e5], dtype=torch.float64)
    together = invert(cubic, y, *bracket(cubic, y))
    alone = torch.cat([invert(cubic, each, *bracket(cubic, each)) for each in y.split(1)])
    torch.testing.assert_close(together, alone, rtol=1e-14, atol=1e-14)


def test_derivatives_are_those_of_the_implicit_function():
    def root(y, scale):
        def f(x):
            return scale * x + x**3, (scale + 3 * x**2).log()

        return invert(f, y, *bracket(f, y.detach()))

    y = torch.tensor([0.5, -2.0], dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(root, (y, scale))
