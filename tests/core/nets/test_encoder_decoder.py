"""Every registered pair of an encoder and a decoder: shapes, context, and refusals."""

import pytest
import torch
from maquette.core.errors import ConfigError
from maquette.core.nets.encoder_decoder import ConvCoderConfig, coders
from maquette.core.spaces import Field, Vector, size

SPACE = Field(channels=2, grid=(4, 8))
SMALL = {"mlp": {"hidden": (8, 4)}, "conv": {"channels": 4}}


@pytest.mark.parametrize("context_features", [0, 3])
@pytest.mark.parametrize("name", coders.names())
def test_shapes_and_context(name, context_features):
    torch.manual_seed(0)
    config = coders.get(name)(**SMALL[name])
    encoder = config.encoder(SPACE, 2, context_features, 5).double()
    decoder = config.decoder(SPACE, 5, context_features, 3).double()
    for parameter in (*encoder.parameters(), *decoder.parameters()):
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(7, size(SPACE), 2, dtype=torch.float64)
    c = torch.randn(7, context_features, dtype=torch.float64) if context_features else None
    z = encoder(x, c)
    parameters = decoder(z, c)
    assert z.shape == (7, 5)
    assert parameters.shape == (7, size(SPACE), 3)
    torch.testing.assert_close(encoder(x[:2], None if c is None else c[:2]), z[:2])
    assert not torch.allclose(encoder(x + 1, c), z)
    if c is not None:
        assert not torch.allclose(encoder(x, c + 1), z)
        assert not torch.allclose(decoder(z, c + 1), parameters)


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        (Vector(dim=4), "convolutions need a field of 1 or 2 or 3 axes, found a vector; take the coder mlp"),
        (Field(channels=1, grid=(6,)), r"coder.strides: a stride of 2 does not divide a grid of \[3\]"),
    ],
)
def test_convolutions_refuse_spaces_without_their_grids(space, sentence):
    for build in (ConvCoderConfig().encoder, ConvCoderConfig().decoder):
        with pytest.raises(ConfigError, match=sentence):
            build(space, 1, 0, 2)
