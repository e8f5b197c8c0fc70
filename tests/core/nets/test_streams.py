"""Streams: resampling between grids, the gate from one stream to the next, and periodic axes."""

import pytest
import torch
from maquette.core.errors import ConfigError
from maquette.core.nets.streams import Gate, StreamsConfig, averaging_matrix
from maquette.core.spaces import Field, Product, Vector, size

SPACE = Product(
    parts={
        "a": Field(channels=1, grid=(4, 6)),
        "v": Vector(dim=3),
        "b": Field(channels=2, grid=(6, 2), periodic=(True, False)),
    }
)


@pytest.mark.parametrize(("before", "after"), [(96, 12), (3, 12), (12, 12), (12, 6), (5, 3)])
def test_resampling_averages(before, after):
    matrix = averaging_matrix(before, after)
    torch.testing.assert_close(matrix.sum(1), torch.ones(after))
    # the mean over the interval is kept, whatever the image
    x = torch.randn(before)
    torch.testing.assert_close((matrix @ x).mean(), x.mean())
    if before == 12 and after == 6:
        torch.testing.assert_close((matrix @ x), x.reshape(6, 2).mean(1))


def test_a_gate_stays_between_its_two_sources():
    gate = Gate(Field(channels=1, grid=(3, 8)), Field(channels=1, grid=(6, 4)))
    torch.nn.init.ones_(gate.channel_proj.weight)
    own, previous = torch.full((2, 1, 6, 4), 5.0), torch.full((2, 1, 3, 8), 1.0)
    mixed = gate(own, previous)
    assert mixed.shape == own.shape
    assert (mixed > 1).all()
    assert (mixed < 5).all()


def test_a_stream_depends_on_the_one_before_it():
    net = StreamsConfig(channels=4, depth=1, width=8).build(SPACE)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    # without the features that all streams share, the rest can only come through the gate
    torch.nn.init.zeros_(net.global_proj.weight)
    x = torch.randn(1, size(SPACE))
    moved = x.clone()
    moved[:, :24] += 1
    assert not torch.allclose(net(x)[:, 27:], net(moved)[:, 27:]), "the second field does not depend on the first"
    moved = x.clone()
    moved[:, 27:] += 1
    assert torch.allclose(net(x)[:, :24], net(moved)[:, :24]), "the first field depends on the second"


def test_periodic_axes_wrap():
    field = Field(channels=1, grid=(6, 5), periodic=(True, False))
    net = StreamsConfig(channels=3, depth=1, width=4).build(field)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    torch.nn.init.zeros_(net.global_proj.weight)
    x = torch.randn(1, *field.shape)
    turned = net(x.roll(2, dims=2).flatten(1)).unflatten(1, field.shape)
    torch.testing.assert_close(turned, net(x.flatten(1)).unflatten(1, field.shape).roll(2, dims=2))
    shifted = net(x.roll(2, dims=3).flatten(1)).unflatten(1, field.shape)
    assert not torch.allclose(shifted, net(x.flatten(1)).unflatten(1, field.shape).roll(2, dims=3))


@pytest.mark.parametrize(
    "space",
    [
        Vector(dim=3),
        Field(channels=1, grid=(2, 2, 2, 2)),
        Product(parts={"a": Field(channels=1, grid=(2,)), "b": Field(channels=1, grid=(2, 2))}),
    ],
)
def test_impossible_streams_are_refused(space):
    with pytest.raises(ConfigError, match="expected fields of one, two or three axes, all alike"):
        StreamsConfig().build(space)
