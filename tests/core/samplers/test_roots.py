"""Roots of increasing functions, also of those that Newton alone would miss."""

import pytest
import torch
from maquette.core.samplers.roots import invert


def bent(x):
    """Flat in the middle, steep outside: Newton's steps from zero leave for infinity."""
    return x**3 + 1e-3 * x, (3 * x**2 + 1e-3).log()


@torch.no_grad()
def bracket(f, y):
    """Numbers (low, high) of y's shape with f(low) <= y <= f(high), for f that takes all values."""

    def end(sign):
        reach = torch.ones_like(y)
        while (short := sign * (f(y + sign * reach)[0] - y) < 0).any():
            reach = torch.where(short, 4 * reach, reach)
        return y + sign * reach

    return end(-1.0), end(1.0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_functions_are_undone(dtype):
    x = torch.linspace(-30, 30, 401, dtype=dtype)
    y = bent(x)[0]
    low, high = bracket(bent, y)
    assert ((low <= x) & (x <= high)).all()
    found = invert(bent, y, low, high)
    torch.testing.assert_close(bent(found)[0], y, rtol=100 * torch.finfo(dtype).eps, atol=100 * torch.finfo(dtype).eps)


def test_a_row_does_not_depend_on_its_neighbours():
    y = torch.tensor([0.3, -4.0, 1e5], dtype=torch.float64)
    together = invert(bent, y, *bracket(bent, y))
    alone = torch.cat([invert(bent, each, *bracket(bent, each)) for each in y.split(1)])
    torch.testing.assert_close(together, alone, rtol=1e-14, atol=1e-14)


def test_derivatives_are_those_of_the_implicit_function():
    def root(y, scale):
        def f(x):
            return scale * x + x**3, (scale + 3 * x**2).log()

        return invert(f, y, *bracket(f, y.detach()))

    y = torch.tensor([0.5, -2.0], dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(root, (y, scale))
