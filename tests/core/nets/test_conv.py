"""Convolutions of any number of axes: periodic axes wrap; paths down to coarser grids and up again."""

import pytest
import torch
from maquette.core.errors import ConfigError
from maquette.core.nets.conv import (
    Convolution,
    DownsamplingPath,
    ResidualBlock,
    UpsamplingPath,
    as_field,
    downsampling,
    from_channels,
    pyramid,
    to_channels,
    upsampling,
)
from maquette.core.spaces import Field, Product, Vector

GRIDS = [(), (6,), (4, 6), (2, 4, 6)]


@pytest.mark.parametrize("grid", GRIDS)
def test_flat_fields_become_channels_and_come_back(grid):
    field = Field(channels=3, grid=grid)
    x = torch.randn(2, *field.shape)
    embedded = torch.stack((x.flatten(1), -x.flatten(1)), dim=-1)
    channels = to_channels(field, embedded)
    assert channels.shape == (2, 6, *grid)
    assert torch.equal(channels[:, 0::2], x)
    assert torch.equal(channels[:, 1::2], -x)
    assert torch.equal(from_channels(field, channels), embedded)


@pytest.mark.parametrize("grid", GRIDS[1:])
def test_a_convolution_on_a_periodic_grid_commutes_with_rolling(grid):
    shift, axes = (1,) * len(grid), tuple(range(2, 2 + len(grid)))
    x = torch.randn(2, 3, *grid, dtype=torch.float64)
    for periodic in (True, False):
        layer = Convolution(Field(channels=3, grid=grid, periodic=(periodic,) * len(grid)), 3, 2).double()
        moved = torch.roll(layer(x), shift, axes)
        assert torch.allclose(layer(torch.roll(x, shift, axes)), moved) == periodic


@pytest.mark.parametrize("grid", GRIDS)
def test_strides_neither_overlap_nor_leave_gaps(grid):
    """A coarser cell is made of its block, and a finer block of its cell: strides neither overlap nor leave gaps."""
    stride = 2 if grid else 1
    field = Field(channels=2, grid=grid)
    down, up = downsampling(field, 2, 3, stride).double(), upsampling(field, 3, 2, stride).double()
    x = torch.randn(1, 2, *grid, dtype=torch.float64)
    other = x.clone()
    other[(0, 0, *(0,) * len(grid))] += 1
    changed = (down(other) - down(x)).abs().sum(1)[0] > 0
    assert changed.sum() == 1
    z = down(x)
    assert z.shape == (1, 3, *(side // stride for side in grid))
    moved = z.clone()
    moved[(0, 0, *(0,) * len(grid))] += 1
    touched = (up(moved) - up(z)).abs().sum(1)[0] > 0
    assert touched.sum() == stride ** len(grid)
    assert touched[(slice(0, stride),) * len(grid)].all()


def test_a_residual_block_starts_as_the_identity_and_sees_its_context():
    block = ResidualBlock(Field(channels=1, grid=(4, 4)), 5, 2)
    x, context = torch.randn(3, 5, 4, 4), torch.randn(3, 2)
    assert torch.equal(block(x, context), x)
    torch.nn.init.normal_(block.second.inner.weight)
    assert not torch.allclose(block(x, context), block(x, 2 * context))


@pytest.mark.parametrize("space", [Vector(dim=4), Field(channels=2, grid=(4, 8)), Field(channels=1, grid=(4, 4, 4))])
def test_features_of_every_grid_and_back(space):
    field, strides = as_field(space), (2, 2)
    levels = pyramid(field, strides, where="strides")
    down_path = DownsamplingPath(levels, strides, in_channels=field.channels, channels=6, depth=1, context_features=2)
    up_path = UpsamplingPath(levels, strides, channels=6, depth=1, context_features=2, out_channels=5)
    x, context = torch.randn(3, *field.shape), torch.randn(3, 2)
    features = down_path(x, context)
    assert [tuple(feature.shape[2:]) for feature in features] == [level.grid for level in levels[1:]]
    assert up_path(features[-1], context).shape == (3, 5, *field.grid)


def test_what_is_no_field_becomes_channels():
    product = Product(parts={"a": Vector(dim=2), "b": Field(channels=1, grid=(2, 2))})
    assert as_field(product).shape == (6,)
    assert as_field(Field(channels=1, grid=(2, 2, 2, 2))).shape == (16,)


def test_a_stride_that_does_not_divide_is_refused():
    with pytest.raises(ConfigError, match=r"strides: a stride of 2 does not divide a grid of \[7, 7\]"):
        pyramid(Field(channels=1, grid=(14, 14)), (2, 2), where="strides")
