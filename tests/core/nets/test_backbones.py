"""Every registered backbone maps rows to rows from a zero start, with and without time and condition."""

import pytest
import torch
from maquette.core.errors import ConfigError
from maquette.core.layout import Layout
from maquette.core.nets import networks
from maquette.core.nets.streams import Gate, Streams, StreamsConfig, overlaps
from maquette.core.nets.transformer import Tokens, TransformerConfig, cut
from maquette.core.spaces import Field, Product, Vector, size

SPACE = Product(
    parts={
        "a": Field(channels=1, grid=(4, 6)),
        "v": Vector(dim=3),
        "b": Field(channels=2, grid=(6, 2), periodic=(True, False)),
    }
)
SMALL = {
    "mlp": {"hidden": (8,)},
    "residual": {"width": 8, "depth": 2},
    "transformer": {"width": 8, "depth": 1, "heads": 2, "patch": (2, 2)},
    "streams": {"channels": 4, "depth": 1, "width": 8},
}


def build(name, condition, time):
    torch.manual_seed(0)
    return networks.get(name)(**SMALL.get(name, {})).build(SPACE, condition, time=time)


@pytest.mark.parametrize("time", [False, True])
@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("name", [name for name, _ in networks.items()])
def test_contract(name, context, time):
    net = build(name, Vector(dim=context) if context else None, time)
    x = torch.randn(5, size(SPACE))
    t = torch.rand(5) if time else None
    c = torch.randn(5, context) if context else None
    assert torch.equal(net(x, t, c), torch.zeros_like(x)), "a backbone starts as the zero function"
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    y = net(x, t, c)
    assert y.shape == x.shape
    few = net(x[:2], None if t is None else t[:2], None if c is None else c[:2])
    torch.testing.assert_close(few, y[:2])
    # each input is heard
    assert not torch.allclose(net(x + 1, t, c), y)
    if t is not None:
        assert not torch.allclose(net(x, t + 0.3, c), y)
    if c is not None:
        assert not torch.allclose(net(x, t, c + 1), y)


@pytest.mark.parametrize("name", [name for name, _ in networks.items()])
def test_compiles_as_one_graph(name):
    torch._dynamo.reset()
    net = build(name, Vector(dim=2), True)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    arguments = (torch.randn(5, size(SPACE)), torch.rand(5), torch.randn(5, 2))
    expected = net(*arguments)
    net.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(net(*arguments), expected)


# --- transformer --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "patch"),
    [
        (Field(channels=2, grid=(4, 6)), (2, 3)),
        (Field(channels=1, grid=(8,)), (4,)),
        (Field(channels=3, grid=(2, 4, 6)), (1, 2, 3)),
    ],
)
def test_patches_are_contiguous_blocks(field, patch):
    x = torch.arange(float(size(field)))
    pieces = x[cut(field, patch, 0)]
    image = x.reshape(field.shape)
    block = image[(slice(None), *(slice(step) for step in patch))]
    assert torch.equal(pieces[0], block.flatten())
    last = image[(slice(None), *(slice(-step, None) for step in patch))]
    assert torch.equal(pieces[-1], last.flatten())
    assert torch.equal(pieces.flatten().sort().values, x)


def test_cutting_and_joining_keep_every_number_in_its_place():
    pieces = [cut(Field(channels=1, grid=(2, 4)), (2, 2), 0), cut(Vector(dim=4), (), 8), torch.arange(12, 15)[None]]
    tokens = Tokens(pieces, width=4)
    assert tokens.count == 4
    assert [(g.parts, g.tokens, g.features) for g in tokens.groups] == [(1, 2, 4), (1, 1, 4), (1, 1, 3)]
    for enter, leave in zip(tokens.enter, tokens.leave, strict=True):
        eye = torch.eye(4)[: enter.shape[1]]
        enter.data.copy_(eye)
        leave.data.copy_(eye.T)
    x = torch.randn(3, 15)
    torch.testing.assert_close(tokens.join(tokens.cut(x)), x)


def test_equal_parts_share_one_product_but_not_their_weights():
    space = Product(parts={name: Field(channels=1, grid=(4,)) for name in "abc"})
    net = TransformerConfig(width=8, depth=1, heads=2, patch=(2,)).build(space)
    assert [(g.parts, g.tokens, g.features) for g in net.tokens.groups] == [(3, 2, 2)]
    torch.nn.init.normal_(net.tokens.leave[0])
    tokens = torch.ones(1, 6, 8)
    a, b, c = net.tokens.join(tokens).split(4, dim=1)
    assert not torch.allclose(a, b)
    assert not torch.allclose(b, c)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"patch": (3, 2)}, r'patches of \[3, 2\] do not tile part "a", a grid of \[4, 6\]; give one divisor per axis'),
        ({"patch": (2,)}, r"patches of \[2\] do not tile"),
        ({"patch": {"a": (2, 2)}}, r'say how part "b", a grid of \[6, 2\], is cut'),
        ({"patch": {"aa": (2, 2)}}, r'there is no part "aa"\. Did you mean "a"\?'),
        ({"patch": (2, 2), "width": 10, "heads": 4}, "4 heads do not divide a width of 10"),
    ],
)
def test_impossible_transformers_are_refused(config, sentence):
    with pytest.raises(ConfigError, match=sentence):
        TransformerConfig(**config).build(SPACE)


# --- streams ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after"), [(96, 12), (3, 12), (12, 12), (12, 6), (5, 3)])
def test_resampling_averages(before, after):
    matrix = overlaps(before, after)
    torch.testing.assert_close(matrix.sum(1), torch.ones(after))
    # the mean over the interval is kept, whatever the image
    x = torch.randn(before)
    torch.testing.assert_close((matrix @ x).mean(), x.mean())
    if before == 12 and after == 6:
        torch.testing.assert_close((matrix @ x), x.reshape(6, 2).mean(1))


def test_a_gate_stays_between_its_two_sources():
    gate = Gate(Field(channels=1, grid=(3, 8)), Field(channels=1, grid=(6, 4)))
    torch.nn.init.ones_(gate.carry.weight)
    own, previous = torch.full((2, 1, 6, 4), 5.0), torch.full((2, 1, 3, 8), 1.0)
    mixed = gate(own, previous)
    assert mixed.shape == own.shape
    assert (mixed > 1).all()
    assert (mixed < 5).all()


def test_a_stream_hears_the_one_before_it():
    net = build("streams", None, False)
    assert isinstance(net, Streams)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    # silence what all streams share: the rest can only come through the gate
    torch.nn.init.zeros_(net.survey.weight)
    x = torch.randn(1, size(SPACE))
    moved = x.clone()
    moved[:, :24] += 1
    assert not torch.allclose(net(x)[:, 27:], net(moved)[:, 27:]), "the second field does not hear the first"
    moved = x.clone()
    moved[:, 27:] += 1
    assert torch.allclose(net(x)[:, :24], net(moved)[:, :24]), "the first field hears the second"


def test_periodic_axes_wrap():
    field = Field(channels=1, grid=(6, 5), periodic=(True, False))
    net = StreamsConfig(channels=3, depth=1, width=4).build(field)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    torch.nn.init.zeros_(net.survey.weight)
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


def test_layout_of_a_network_counts_one_hot_columns():
    from maquette.core.spaces import Levels

    condition = Vector(dim=1, support=Levels(count=4))
    net = networks.get("mlp")(hidden=(8,)).build(Vector(dim=2), condition)
    c = Layout(Vector(dim=2), condition).context(torch.tensor([[3]]), torch.zeros(1, 2))
    assert net(torch.zeros(1, 2), None, c).shape == (1, 2)
