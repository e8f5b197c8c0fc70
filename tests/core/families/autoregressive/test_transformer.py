"""The transformer: sparse attention, positions on grids, work per token."""

import pytest
import torch
from maquette.core.errors import ConfigError
from maquette.core.families.autoregressive.raster import positions
from maquette.core.families.autoregressive.transformer import TransformerConfig
from maquette.core.nets.attention import Attention
from maquette.core.spaces import Binary, Field, Product, Sequence, Vector
from maquette.core.testing.bench import keyed, shaken

TINY = TransformerConfig(width=8, depth=1, heads=2)


@pytest.mark.parametrize(
    ("attention", "depth", "expected"),
    [
        ("full", 1, list(range(11))),
        ("local", 1, [8, 9, 10]),
        ("local", 2, [6, 7, 8, 9, 10]),
        ("strided", 1, [8, 9, 10]),
        ("strided", 2, list(range(11))),
    ],
)
def test_blocks_see_the_pattern_of_their_attention(attention, depth, expected, jacobian):
    """Token i embeds feature i - 1. The second strided block sees every third token; each saw the last three."""
    config = TINY.model_copy(update={"attention": attention, "depth": depth, "window": 3})
    space = Vector(dim=16)
    assert jacobian(shaken(config, space, None), space)[11].nonzero().squeeze(1).tolist() == expected


def test_every_feature_depends_on_the_condition_under_local_attention():
    config = TINY.model_copy(update={"attention": "local", "window": 1})
    model = shaken(config, Vector(dim=6), Vector(dim=1))
    c = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    parameters = model.conditionals(torch.zeros(1, 6, dtype=torch.float64), c)
    for each in parameters[0].sum(1):
        assert torch.autograd.grad(each, c, retain_graph=True)[0].item() != 0


def test_positions_are_those_on_the_axes_of_the_space():
    assert positions(Vector(dim=3)).tolist() == [[0], [1], [2]]
    assert positions(Field(channels=1, grid=(2, 2))).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert positions(Sequence(length=2, channels=2)).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    product = Product(parts={"a": Vector(dim=2), "b": Vector(dim=1)})
    assert positions(product).tolist() == [[0, 0], [0, 1], [1, 0]]


def test_rotary_positions_distinguish_the_order_of_features():
    """Without learned positions, a block distinguishes the order of earlier tokens only by rotary positions."""
    model = shaken(TINY, Vector(dim=5), None)
    x = torch.randn(1, 5, dtype=torch.float64)
    with torch.no_grad():
        model.network.positions.zero_()
        one, other = (model.conditionals(each)[0, 4] for each in (x, x[:, [1, 0, 2, 3, 4]]))
    assert (one - other).abs().max() > 1e-5


def test_sampling_computes_every_token_once():
    """So the cost is linear in length, except for the attention to earlier tokens."""
    model = shaken(TINY, Vector(dim=30, support=Binary()), None)
    tokens = []
    for module in model.modules():
        if isinstance(module, Attention):
            module.qkv.register_forward_hook(lambda _, inputs, output: tokens.append(output.shape[1]))
    with torch.no_grad():
        model.sample(2, noise=keyed(2))
    assert sum(tokens) == 30


@pytest.mark.parametrize(
    ("config", "space", "sentence"),
    [
        (TransformerConfig(width=10, heads=4), Vector(dim=4), "4 heads do not divide a width of 10"),
        (
            TransformerConfig(width=6, heads=2),
            Vector(dim=4),
            "a width of 6 gives each of 2 heads an odd number of features",
        ),
        (TINY, Vector(dim=1), "at least 2 features per sample, found 1; use fvsbn"),
    ],
)
def test_impossible_networks_are_refused(config, space, sentence):
    with pytest.raises(ConfigError, match=sentence):
        config.build(space)


def test_it_learns_to_copy_from_far_back(nats_after_fit):
    """The second half of a sequence repeats the first: 4 ln 2 = 2.77 nats in 8 tokens, against 5.55 at the start."""
    config, space = TransformerConfig(width=16, depth=2, heads=2), Sequence(length=8, vocabulary=2)
    x = torch.cartesian_prod(*4 * [torch.arange(2)]).repeat(1, 2)
    assert 2.77 < nats_after_fit(config, space, x, lr=1e-2, steps=150) < 3.0
