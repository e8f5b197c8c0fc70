"""Every registered backbone maps samples to samples from a zero start, with and without time and context."""

import pytest
import torch
from maquette.core.context import Context
from maquette.core.layout import Layout
from maquette.core.nets import networks
from maquette.core.spaces import Field, Levels, Product, Vector, size

SPACE = Product(
    parts={
        "a": Field(channels=1, grid=(4, 6)),
        "v": Vector(dim=3),
        "b": Field(channels=2, grid=(6, 2), periodic=(True, False)),
    }
)
FIELD = Field(channels=2, grid=(4, 6), periodic=(True, False))
SMALL = {
    "mlp": {"hidden": (8,)},
    "residual": {"width": 8, "depth": 2},
    "transformer": {"width": 8, "depth": 1, "heads": 2, "patch": (2, 2)},
    "streams": {"channels": 4, "depth": 1, "width": 8},
    "unet": {"widths": (4, 8), "strides": (2,), "depth": 1, "attention": (1,), "heads": 2, "groups": 2},
}


def space_of(name):
    """A product of everything, or a field for a network that takes fields only."""
    return FIELD if name == "unet" else SPACE


def build(name, condition, time):
    torch.manual_seed(0)
    return networks.get(name)(**SMALL.get(name, {})).build(space_of(name), condition, time=time)


@pytest.mark.parametrize("time", [False, True])
@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("name", [name for name, _ in networks.items()])
def test_contract(name, context, time):
    net = build(name, Vector(dim=context) if context else None, time)
    x = torch.randn(5, size(space_of(name)))
    t = torch.rand(5) if time else None
    c = Context(torch.randn(5, context) if context else None)
    assert torch.equal(net(x, t, c), torch.zeros_like(x)), "a backbone starts as the zero function"
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    y = net(x, t, c)
    assert y.shape == x.shape
    few = net(x[:2], None if t is None else t[:2], c.map(lambda rows: rows[:2]))
    torch.testing.assert_close(few, y[:2])
    # the output depends on each input
    assert not torch.allclose(net(x + 1, t, c), y)
    if t is not None:
        assert not torch.allclose(net(x, t + 0.3, c), y)
    if context:
        assert not torch.allclose(net(x, t, c.map(lambda rows: rows + 1)), y)


@pytest.mark.parametrize("name", [name for name, _ in networks.items()])
def test_compiles_as_one_graph(name):
    torch._dynamo.reset()
    net = build(name, Vector(dim=2), True)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    arguments = (torch.randn(5, size(space_of(name))), torch.rand(5), Context(torch.randn(5, 2)))
    expected = net(*arguments)
    net.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(net(*arguments), expected)


def test_context_features_count_one_hot_levels():
    condition = Vector(dim=1, support=Levels(count=4))
    net = networks.get("mlp")(hidden=(8,)).build(Vector(dim=2), condition)
    c = Layout(Vector(dim=2), condition).context(torch.tensor([[3]]), torch.zeros(1, 2))
    assert net(torch.zeros(1, 2), None, c).shape == (1, 2)
