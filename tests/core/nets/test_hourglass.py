"""The hourglass: both paths have the same grids."""

import pytest
import torch
from maquette.core.errors import ConfigError
from maquette.core.nets.hourglass import Hourglass
from maquette.core.spaces import Field, Vector


def hourglass(space, strides):
    return Hourglass(space, strides, where="here", embed_dim=2, parameters=3, channels=6, depth=1, context_features=4)


@pytest.mark.parametrize(
    ("space", "grids"), [(Field(channels=2, grid=(4, 8)), [(1, 2), (2, 4)]), (Vector(dim=5), [(), ()])]
)
def test_both_paths_have_the_same_grids(space, grids):
    net = hourglass(space, (2, 2))
    x, c = torch.randn(7, *space.shape).flatten(1), torch.randn(7, 4)
    seen, features = net.bottom_up(torch.stack((x, x), dim=2), c), net.start(7)
    assert [field.grid for field in net.fields] == grids
    for level, up in zip(seen, net.up, strict=True):
        assert level.shape == features.shape
        features = up(features + level)
    assert net.output(features).shape == (*x.shape, 3)


def test_a_stride_that_does_not_divide_is_refused_by_its_key():
    with pytest.raises(ConfigError, match="here: a stride of 3 does not divide"):
        hourglass(Field(channels=1, grid=(4,)), (3,))
