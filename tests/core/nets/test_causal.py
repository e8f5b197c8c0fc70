"""Causal modules: blind to what is later, and the same place by place as all at once."""

import pytest
import torch
from maquette.core.nets.causal import CausalConv, CausalLinear, Memory, shift

CONVOLUTIONS = [
    {"taps": 3, "axis": 2},
    {"taps": 2, "axis": 2, "across": 3},
    {"taps": 2, "axis": 2, "across": 5, "dilation": 2, "periodic": True},
    {"taps": 1, "axis": 2, "across": 3},
    {"taps": 4, "axis": 3},
    {"taps": 3, "axis": 3, "dilation": 2},
]


@pytest.fixture(params=CONVOLUTIONS, ids=str)
def conv(request):
    return CausalConv(2, 3, **request.param).double()


def test_a_convolution_goes_place_by_place_as_all_at_once(conv):
    x, memory = torch.randn(4, 2, 6, 7, dtype=torch.float64), Memory()
    pieces = [conv(place, memory) for place in x.split(1, dim=conv.axis)]
    torch.testing.assert_close(torch.cat(pieces, dim=conv.axis), conv(x), rtol=0, atol=1e-13)


def test_a_convolution_sees_its_taps_and_no_later_place(conv):
    x = torch.randn(1, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(conv(x).select(conv.axis, 5).sum(), x)
    reached = gradient.abs().sum((0, 1, 5 - conv.axis)) > 0
    seen = {5 - k * conv.dilation for k in range(conv.taps)}
    assert {place for place in range(8) if reached[place]} == {place for place in seen if place >= 0}


def test_a_periodic_convolution_commutes_with_turning():
    conv = CausalConv(2, 3, 2, axis=2, across=5, periodic=True).double()
    x = torch.randn(1, 2, 4, 3, dtype=torch.float64)  # a row shorter than what it sees
    torch.testing.assert_close(conv(x.roll(1, dims=3)), conv(x).roll(1, dims=3), rtol=0, atol=1e-13)
    fixed = CausalConv(2, 3, 2, axis=2, across=5).double()
    assert not torch.allclose(fixed(x.roll(1, dims=3)), fixed(x).roll(1, dims=3))


@pytest.mark.parametrize(("taps", "dilation"), [(2, 1), (2, 4), (3, 2), (3, 9)])
def test_a_line_goes_place_by_place_as_all_at_once(taps, dilation):
    layer, memory = CausalLinear(2, 3, taps, dilation).double(), Memory()
    x = torch.randn(4, 15, 2, dtype=torch.float64)
    pieces = [layer(place, memory) for place in x.split(1, dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), layer(x), rtol=0, atol=1e-13)


def test_memories_of_two_samples_do_not_meet():
    layer, one, two = CausalLinear(1, 1, 2).double(), Memory(), Memory()
    x = torch.randn(3, 1, 1, dtype=torch.float64)
    first = layer(x, one)
    layer(x + 1, one)
    assert torch.equal(layer(x, two), first)


def test_shifting_leaves_zeros_in_front():
    x = torch.arange(1.0, 7).reshape(1, 1, 2, 3)
    assert shift(x, 3).tolist() == [[[[0, 1, 2], [0, 4, 5]]]]
    assert shift(x, 2).tolist() == [[[[0, 0, 0], [1, 2, 3]]]]
    assert shift(x, 3, 5).count_nonzero() == 0
