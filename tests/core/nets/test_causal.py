"""Causal convolutions: independent of later positions, and the same position by position as all at once."""

import pytest
import torch
from maquette.core.nets.causal import CausalConv1d, CausalConv2d, ConvCache, gate, shift

CONVOLUTIONS = [
    {"kernel_size": 3, "dim": 2},
    {"kernel_size": 2, "dim": 2, "cross_size": 3},
    {"kernel_size": 2, "dim": 2, "cross_size": 5, "dilation": 2, "periodic": True},
    {"kernel_size": 1, "dim": 2, "cross_size": 3},
    {"kernel_size": 4, "dim": 3},
    {"kernel_size": 3, "dim": 3, "dilation": 2},
]


@pytest.fixture(params=CONVOLUTIONS, ids=str)
def conv(request):
    return CausalConv2d(2, 3, **request.param).double()


def test_a_convolution_is_the_same_position_by_position(conv):
    x, cache = torch.randn(4, 2, 6, 7, dtype=torch.float64), ConvCache()
    pieces = [conv(row, cache) for row in x.split(1, dim=conv.dim)]
    torch.testing.assert_close(torch.cat(pieces, dim=conv.dim), conv(x), rtol=0, atol=1e-13)


def test_a_convolution_sees_its_kernel_and_no_later_position(conv):
    x = torch.randn(1, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(conv(x).select(conv.dim, 5).sum(), x)
    reached = gradient.abs().sum((0, 1, 5 - conv.dim)) > 0
    seen = {5 - k * conv.dilation for k in range(conv.kernel_size)}
    assert {row for row in range(8) if reached[row]} == {row for row in seen if row >= 0}


def test_a_periodic_convolution_commutes_with_rolling():
    conv = CausalConv2d(2, 3, 2, dim=2, cross_size=5, periodic=True).double()
    x = torch.randn(1, 2, 4, 3, dtype=torch.float64)  # a row shorter than what it sees
    torch.testing.assert_close(conv(x.roll(1, dims=3)), conv(x).roll(1, dims=3), rtol=0, atol=1e-13)
    fixed = CausalConv2d(2, 3, 2, dim=2, cross_size=5).double()
    assert not torch.allclose(fixed(x.roll(1, dims=3)), fixed(x).roll(1, dims=3))


@pytest.mark.parametrize(("kernel_size", "dilation"), [(2, 1), (2, 4), (3, 2), (3, 9)])
def test_a_sequence_is_the_same_step_by_step(kernel_size, dilation):
    layer, cache = CausalConv1d(2, 3, kernel_size, dilation).double(), ConvCache()
    x = torch.randn(4, 15, 2, dtype=torch.float64)
    pieces = [layer(step, cache) for step in x.split(1, dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), layer(x), rtol=0, atol=1e-13)


def test_two_caches_do_not_interfere():
    layer, one, two = CausalConv1d(1, 1, 2).double(), ConvCache(), ConvCache()
    x = torch.randn(3, 1, 1, dtype=torch.float64)
    first = layer(x, one)
    layer(x + 1, one)
    assert torch.equal(layer(x, two), first)


def test_shifting_leaves_zeros_in_front():
    x = torch.arange(1.0, 7).reshape(1, 1, 2, 3)
    assert shift(x, 3).tolist() == [[[[0, 1, 2], [0, 4, 5]]]]
    assert shift(x, 2).tolist() == [[[[0, 0, 0], [1, 2, 3]]]]
    assert shift(x, 3, 5).count_nonzero() == 0


def test_the_gate_is_tanh_times_sigmoid():
    a, b = torch.randn(2, 5, 3, dtype=torch.float64)
    expected = (a.exp() - (-a).exp()) / (a.exp() + (-a).exp()) / (1 + (-b).exp())
    torch.testing.assert_close(gate(torch.cat((a, b), dim=1)), expected)
    torch.testing.assert_close(gate(torch.cat((a, b), dim=0), dim=0), expected)
