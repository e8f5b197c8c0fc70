"""PixelCNN: no blind spot, channels in turn, periodic rows, skips."""

import pytest
import torch
from maquette.core.errors import ConfigError
from maquette.core.families.autoregressive.pixelcnn import PixelCNNConfig
from maquette.core.families.autoregressive.raster import raster
from maquette.core.likelihoods.logistic import LogisticMixtureConfig
from maquette.core.spaces import Binary, Field, Levels, Real, Vector
from maquette.core.testing.bench import keyed, shaken

SPACE = Field(channels=1, grid=(4, 4))
SMALL = PixelCNNConfig(channels=4, depth=3, kernel=3, first_kernel=3)


@pytest.mark.parametrize("grid", [(5, 5), (1, 6)])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_feature_sees_all_before_it_and_none_after(grid, channels, jacobian):
    """Exactly zero above the diagonal; below it nothing is missed, within the receptive field of a few layers."""
    space = Field(channels=channels, grid=grid, support=Real())
    found = jacobian(shaken(SMALL.model_copy(update={"depth": 6}), space, None), space)
    size = len(found)
    assert (found.triu() == 0).all()
    assert (found[torch.tril_indices(size, size, -1).unbind()] != 0).all()


def test_the_pixels_of_a_row_are_drawn_with_their_channels_in_turn():
    assert raster(Field(channels=2, grid=(2, 2))).tolist() == [0, 4, 1, 5, 2, 6, 3, 7]


def test_periodic_rows_wrap_above(jacobian):
    """The last pixel of a row above is the neighbour of the first one below, if and only if the axis wraps."""
    config = SMALL.model_copy(update={"depth": 1})
    for periodic in (False, True):
        space = Field(channels=1, grid=(3, 9), periodic=(False, periodic))
        found = jacobian(shaken(config, space, None), space)
        assert (found[9, 8] != 0) == periodic


def test_logistic_mixtures_draw_levels_and_score_them():
    config = SMALL.model_copy(update={"skips": True, "likelihood": LogisticMixtureConfig(components=3)})
    model = shaken(config, Field(channels=3, grid=(4, 4), support=Levels(count=256)), Vector(dim=2))
    c = torch.randn(5, 2, dtype=torch.float64)
    x = model.sample(5, c, noise=keyed(5))
    assert x.dtype == torch.int64
    assert 0 <= x.min() < x.max() <= 255
    assert (model.log_prob(x, c) < 0).all()


def test_layers_of_the_second_half_see_the_mirrored_layer_of_the_first():
    network = shaken(SMALL.model_copy(update={"skips": True, "depth": 5}), SPACE, None).network
    outputs, seen = {}, {}
    for name, stack in (("vertical", network.vertical), ("horizontal", network.horizontal)):
        for i, layer in enumerate(stack):
            layer.register_forward_hook(
                lambda _, inputs, output, key=(name, i): outputs.update(
                    {key: output[0] if isinstance(output, tuple) else output}
                )
            )
            if layer.skip is not None:
                layer.skip.register_forward_hook(lambda _, inputs, output, key=(name, i): seen.update({key: inputs[0]}))
    network(torch.randn(2, 16, 1, dtype=torch.float64), None)
    assert set(seen) == {(name, i) for name in ("vertical", "horizontal") for i in (3, 4)}
    for (name, i), found in seen.items():
        assert torch.equal(found, outputs[name, 4 - i])


def test_skips_start_after_the_middle():
    skipping = SMALL.model_copy(update={"skips": True, "depth": 5}).build(Field(channels=1, grid=(4, 4)))
    assert skipping.network.skips == [False, False, False, True, True]


@pytest.mark.parametrize(
    ("config", "space", "sentence"),
    [
        (SMALL, Vector(dim=4), "expected a field of 2 axes, found a vector; use transformer or recurrent"),
        (SMALL, Field(channels=1, grid=(2, 2, 2)), "expected a field of 2 axes, found one of 3; use transformer"),
        (SMALL, Field(channels=1, grid=(7,)), "found one of 1"),
        (SMALL, Field(channels=3, grid=()), "found one of 0"),
        (PixelCNNConfig(kernel=4), Field(channels=1, grid=(4, 4)), "kernel: expected an odd number.*found 4; try 5"),
        (
            PixelCNNConfig(first_kernel=8),
            Field(channels=1, grid=(4, 4)),
            "first_kernel: expected an odd number.*found 8; try 9",
        ),
        (PixelCNNConfig(dilations=(1, 0)), Field(channels=1, grid=(4, 4)), r"distances from 1 on, found \[1, 0\]"),
    ],
)
def test_impossible_networks_are_refused(config, space, sentence):
    with pytest.raises(ConfigError, match=sentence):
        config.build(space)


def test_it_learns_that_a_pixel_repeats_the_one_above(nats_after_fit):
    """Columns of one colour have 4 bits in 16 pixels: 4 ln 2 = 2.77 nats against 11.09 at the start."""
    config = PixelCNNConfig(channels=8, depth=2, kernel=3, first_kernel=3)
    space = Field(channels=1, grid=(4, 4), support=Binary())
    columns = torch.cartesian_prod(*4 * [torch.tensor([0.0, 1.0])])
    x = columns[:, None, None, :].expand(-1, 1, 4, 4)
    assert 2.77 < nats_after_fit(config, space, x, lr=2e-2, steps=120) < 3.3
