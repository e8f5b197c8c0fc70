"""Paths and planes of codes, and the samples decoded from them."""

import torch
from maquette.core.families.flows.spline import SplineConfig
from maquette.core.families.vae.vae import VAEConfig
from maquette.core.inference.latent import interpolate, plane, traverse
from maquette.core.nets.encoder_decoder import MLPCoderConfig
from maquette.core.samplers.interpolation import lerp
from maquette.core.spaces import Binary, Interval, Vector
from maquette.core.testing.bench import draw, keyed, shaken


def codes(seed):
    return keyed(5, seed=seed).normal("z", (8,))


def test_a_linear_model_interpolates_linearly():
    config = VAEConfig(latent=3, coder=MLPCoderConfig(hidden=()))
    model = shaken(config, Vector(dim=4), Vector(dim=1))
    one, two, c = draw(Vector(dim=4), 5, 1), draw(Vector(dim=4), 5, 2), draw(Vector(dim=1), 5, 3)
    samples = interpolate(model, one, two, c, steps=5, path=lerp)
    ends = [model.decode(model.encode(x, c), c) for x in (one, two)]
    torch.testing.assert_close(torch.stack(samples), torch.lerp(*ends, torch.linspace(0, 1, 5).double()[:, None, None]))


def test_a_traverse_moves_one_dimension():
    model = shaken(VAEConfig.example(), Vector(dim=4, support=Binary()), None)
    z = codes(1)[:, :2]
    found = traverse(model, z, 1, torch.tensor([-1.0, 2.0]))
    for value, x in zip((-1.0, 2.0), found, strict=True):
        torch.testing.assert_close(x, model.decode(torch.stack((z[:, 0], torch.full((5,), value).double()), dim=1)))


def test_a_plane_is_even_in_probability():
    model = VAEConfig.example().build(Vector(dim=4))
    grid = plane(model, torch.full((3,), 7.0, dtype=torch.float64), (2, 0), 4)
    assert grid.shape == (4, 4, 3)
    assert (grid[..., 1] == 7).all()
    probabilities = torch.special.ndtr(grid)
    torch.testing.assert_close(probabilities[:, 0, 2], torch.tensor([0.125, 0.375, 0.625, 0.875], dtype=torch.float64))
    torch.testing.assert_close(probabilities[2, :, 0], probabilities[:, 0, 2])


def test_paths_follow_the_distribution_of_the_codes():
    """With uniform codes the path between two corners stays in the box, and a plane ends within it."""
    space = Vector(dim=2, support=Interval())
    flow = shaken(SplineConfig(transforms=2, hidden=(8,)), space, None)
    corners = torch.tensor([[0.001, 0.999], [0.999, 0.999]], dtype=torch.float64)
    samples = torch.stack(interpolate(flow, corners[:1], corners[1:], steps=5))
    assert ((samples > 0) & (samples < 1)).all()
    torch.testing.assert_close(
        flow.encode(samples[:, 0]), lerp(*flow.encode(corners)[:, None], torch.linspace(0, 1, 5).double())[:, 0]
    )
    grid = plane(flow, flow.encode(corners)[0], (0, 1), 4)
    torch.testing.assert_close(grid[:, 0, 0], torch.tensor([-3.75, -1.25, 1.25, 3.75], dtype=torch.float64))
