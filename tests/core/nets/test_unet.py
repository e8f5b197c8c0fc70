"""The U-Net: what periodic padding, shared weights and conditions promise, and a fit that uses all of them."""

import pytest
import torch
from maquette.core.context import Context
from maquette.core.data import Batch
from maquette.core.errors import ConfigError
from maquette.core.families.diffusion.edm import EDMConfig
from maquette.core.families.diffusion.flow_matching import FlowMatchingConfig
from maquette.core.nets.mlp import MLPConfig
from maquette.core.nets.transformer import PatchTransformerConfig
from maquette.core.nets.unet import UNetConfig
from maquette.core.spaces import Field, Levels, Product, Vector
from maquette.core.testing.bench import draw, fit, keyed, set_weights, shaken

SMALL = UNetConfig(widths=(4, 8), strides=(2,), depth=1, attention=(1,), heads=2, groups=2)
FLAT = UNetConfig(widths=(4,), strides=(), depth=1, attention=(0,), heads=2, groups=2)


def periodic(*grid):
    return Field(channels=2, grid=grid, periodic=(True,) * len(grid))


@pytest.mark.parametrize(("config", "step"), [(SMALL, 2), (FLAT, 1)])
@pytest.mark.parametrize("grid", [(8,), (4, 6), (4, 2, 6)])
def test_translated_fields_are_answered_by_translated_ones(config, step, grid):
    space = periodic(*grid)
    net = config.build(space, space).double()
    set_weights(net, 0.5)
    x, density = torch.randn(2, 2, *space.shape, dtype=torch.float64)
    axes = tuple(range(2, 2 + len(grid)))

    def answer(x, density):
        return net(x.flatten(1), None, Context(fields=density)).reshape(x.shape)

    def moved(field, by):
        return field.roll([by] * len(axes), axes)

    torch.testing.assert_close(answer(moved(x, step), moved(density, step)), moved(answer(x, density), step))
    if step > 1:
        assert not torch.allclose(answer(moved(x, 1), moved(density, 1)), moved(answer(x, density), 1))
    open_net = config.build(space.model_copy(update={"periodic": ()}), space).double()
    set_weights(open_net, 0.5)
    net = open_net
    assert not torch.allclose(answer(moved(x, step), moved(density, step)), moved(answer(x, density), step))


def test_every_cell_of_a_field_condition_has_a_gradient():
    space = periodic(8, 8)
    net = UNetConfig(widths=(4,), strides=(), depth=1, attention=(), groups=2).build(space, space).double()
    set_weights(net, 0.5)
    density = torch.randn(1, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    net(torch.randn(1, 128, dtype=torch.float64), None, Context(fields=density)).sum().backward()
    assert (density.grad.abs() > 0).all()


@pytest.mark.parametrize("family", [FlowMatchingConfig, EDMConfig])
def test_a_model_samples_at_twice_the_size_with_the_same_weights(family):
    small, large = periodic(4, 4), periodic(8, 4)
    condition = Product(
        parts={"theta": Vector(dim=1), "phase": Field(channels=1, grid=(4, 4), support=Levels(count=3))}
    )
    model = family(network=SMALL, sampler={"steps": 2}).build(small, condition).double()
    set_weights(model, 0.2)
    view = model.at(large)
    theta, phase = torch.ones(3, 1).double(), torch.randint(3, (3, 1, 4, 4))
    assert [p.data_ptr() for p in view.parameters()] == [p.data_ptr() for p in model.parameters()]
    x = view.sample(3, {"theta": theta, "phase": torch.cat((phase, phase), dim=2)}, noise=keyed(3))
    assert x.shape == (3, 2, 8, 4)
    # two equal halves of a periodic field are one periodic field of half the size
    z = torch.randn(3, 2, 4, 4, dtype=torch.float64)
    t = torch.full((3,), 0.5).double()
    found = view.velocity(
        torch.cat((z, z), dim=2).flatten(1), t, {"theta": theta, "phase": torch.cat((phase, phase), 2)}
    )
    once = model.velocity(z.flatten(1), t, {"theta": theta, "phase": phase}).reshape(z.shape)
    torch.testing.assert_close(found.reshape(3, 2, 8, 4), torch.cat((once, once), dim=2))
    assert model.sample(3, {"theta": theta, "phase": phase}, noise=keyed(3)).shape == (3, 2, 4, 4)


def test_weights_that_belong_to_one_grid_stay_there():
    field = Field(channels=1, grid=(4, 4))
    for network in (PatchTransformerConfig(width=8, depth=1, heads=2, patch=(2, 2)), MLPConfig(hidden=(4,))):
        with pytest.raises(ConfigError, match=r"at: the weights of .* belong to one grid"):
            FlowMatchingConfig(network=network).build(field).at(Field(channels=1, grid=(8, 8)))
    with pytest.raises(ConfigError, match=r"strides: a stride of 2 does not divide a grid of \[5, 4\]"):
        FlowMatchingConfig(network=SMALL).build(field).at(Field(channels=1, grid=(5, 4)))


@pytest.mark.parametrize(
    ("space", "changes", "sentence"),
    [
        (Vector(dim=4), {}, "expected fields on one grid of one to three axes, found a vector"),
        (Product(parts={"a": periodic(4), "b": periodic(8)}), {}, r"found \[4\], \[8\]"),
        (periodic(4, 4), {"strides": (2, 2)}, "strides: expected 1, one fewer than widths, found 2"),
        (periodic(4, 4), {"groups": 3}, "3 groups do not divide widths"),
        (periodic(4, 4), {"attention": (2,)}, "there are levels 0 to 1, found 2"),
        (periodic(4, 4), {"heads": 3}, "3 heads do not divide a width of 8"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(space, changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        SMALL.model_copy(update=changes).build(space)


def test_a_fit_follows_a_vector_and_a_field():
    """Samples are the field condition times the vector condition, so both must be read, cell by cell."""
    field = Field(channels=1, grid=(4,), periodic=(True,))
    condition = Product(parts={"sign": Vector(dim=1), "density": field})
    torch.manual_seed(0)
    density, sign = torch.randn(5, 1, 4).repeat_interleave(2, dim=0), torch.tensor([1.0, -1.0]).repeat(5)[:, None]
    network = UNetConfig(widths=(16, 16), strides=(2,), depth=1, attention=(), groups=4)
    model = FlowMatchingConfig(network=network, sampler={"steps": 5}).build(field, condition)
    rows = torch.arange(40) % 10
    x = sign[:, :, None] * density
    batch = Batch(x[rows], {"sign": sign[rows], "density": density[rows]}, torch.arange(40))
    fit(model, lambda step: batch, steps=150, lr=5e-3)
    other = density.roll(1, 0)
    with torch.no_grad():
        for seen in (density, other):  # of a changed field, the samples are those of the new one
            found = model.sample(10, {"sign": sign, "density": seen}, noise=keyed(10, dtype=torch.float32))
            expected = sign[:, :, None] * seen
            assert (found - expected).square().mean() < 0.1 * expected.square().mean()
    assert (density - other).square().mean() > 0.5


def test_a_density_can_be_differentiated():
    """Group normalisations have no batched backward pass that can be differentiated itself."""
    space = Field(channels=1, grid=(4,), periodic=(True,))
    network = UNetConfig(widths=(2, 2), strides=(2,), depth=1, groups=1, attention=())
    model = shaken(FlowMatchingConfig(network=network, precision=1e-3), space, None)
    x = draw(space, 2, seed=0)
    with torch.no_grad():
        expected = model.log_prob(x)
    found = model.log_prob(x)
    torch.testing.assert_close(found.detach(), expected)
    assert torch.autograd.grad(found.sum(), next(iter(model.network.parameters())))[0].abs().sum() > 0
