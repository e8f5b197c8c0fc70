"""EDM: its preconditioning, its noise levels, its density in closed form, and what it learns."""

import math
from itertools import pairwise

import pytest
import torch
from maquette.core.data import Batch
from maquette.core.errors import ConfigError
from maquette.core.families.diffusion.edm import EDMConfig
from maquette.core.nets.residual import ResidualConfig
from maquette.core.spaces import Vector
from maquette.core.testing.bench import draw, keyed

SMALL = ResidualConfig(width=16, depth=1)


def test_levels_fall_from_the_largest_to_zero():
    levels = EDMConfig(sampler={"steps": 18}).build(Vector(dim=1)).times
    assert len(levels) == 19
    assert levels[0] == pytest.approx(80)
    assert levels[-2:] == [pytest.approx(0.002), 0.0]
    assert all(a > b for a, b in pairwise(levels))


def test_preconditioning_is_that_of_the_paper():
    """With F = 0 the denoiser shrinks by sigma_data^2 / (sigma^2 + sigma_data^2): right for normal data."""
    model = EDMConfig(network=SMALL, sigma_data=0.5).build(Vector(dim=3)).double()
    x, sigma = draw(Vector(dim=3), 4, 0), torch.tensor([0.01, 0.5, 3.0, 80.0], dtype=torch.float64)
    torch.testing.assert_close(model.denoise(x, sigma), x * 0.25 / (sigma**2 + 0.25)[:, None])
    seen = {}

    def spy(x, time, context):
        seen.update(x=x, time=time)
        return torch.ones_like(x)

    model.network.forward = spy
    out = model.denoise(x, sigma) - x * 0.25 / (sigma**2 + 0.25)[:, None]
    torch.testing.assert_close(out[:, 0], sigma * 0.5 / (sigma**2 + 0.25).sqrt())
    torch.testing.assert_close(seen["x"], x / (sigma**2 + 0.25).sqrt()[:, None])
    torch.testing.assert_close(seen["time"], sigma.log() / 4)


def test_the_loss_of_zeros_is_one_for_normal_data():
    model = EDMConfig(network=SMALL, sigma_data=0.5).build(Vector(dim=8)).double()
    batch = Batch(0.5 * draw(Vector(dim=8), 2000, 0), None, torch.arange(2000))
    losses = model.stages()[0].players[0].objective(batch, keyed(2000)).losses.detach()
    assert losses.mean().item() == pytest.approx(1.0, abs=4 * losses.std().item() / math.sqrt(2000))


def test_training_levels_relative_to_the_data_are_those_of_the_paper():
    """Table 1: ln(sigma) is N(-1.2, 1.2^2) where sigma_data is 0.5; the default here is for sigma_data 1."""
    n, seen = 20_000, []
    model = EDMConfig(network=SMALL).build(Vector(dim=1)).double()
    model.network.register_forward_hook(lambda _, inputs, output: seen.append(4 * inputs[1]))  # c_noise = ln(sigma) / 4
    model.stages()[0].players[0].objective(Batch(draw(Vector(dim=1), n, 0), None, torch.arange(n)), keyed(n))
    log_ratio = seen[0] - math.log(model.config.sigma_data)
    assert log_ratio.mean().item() == pytest.approx(-1.2 - math.log(0.5), abs=4 * 1.2 / math.sqrt(n) + 0.01)
    assert log_ratio.std().item() == pytest.approx(1.2, rel=0.03)


def test_samples_of_normal_data_with_a_network_of_zeros():
    model = EDMConfig(network=SMALL, sigma_data=0.5, sampler={"steps": 40}).build(Vector(dim=1)).double()
    x, z = model.sample(50, noise=keyed(50)), keyed(50).normal("prior", (1,))
    torch.testing.assert_close(x, 0.5 * z, rtol=0.01, atol=1e-3)


@pytest.fixture
def gaussian(function):
    """EDM with the exact denoiser of data N(c, diag(SCALE)^2) given a condition c (B, 2), and precision 1e-8."""
    model = (
        EDMConfig(network=SMALL, sampler={"steps": 100}, precision=1e-8).build(Vector(dim=2), Vector(dim=2)).double()
    )

    def exact(x, time, context):
        """What makes D(x; sigma) = c + s^2 / (s^2 + sigma^2) (x - c), by the paper's eq. 7 with sigma_data = 1."""
        sigma = (4 * time).exp()
        total = (1 + sigma**2).sqrt()
        x = x * total
        denoised = context.vector + SCALE**2 / (SCALE**2 + sigma**2) * (x - context.vector)
        return (denoised - x / total**2) * total / sigma

    model.network = function(exact)
    return model


SCALE = torch.tensor([0.5, 2.0], dtype=torch.float64)
MEAN = torch.tensor([[0.4, -1.0]], dtype=torch.float64)


def test_the_density_of_a_gaussian_is_exact(gaussian):
    """The flow is linear, so noise N(0, sigma_max^2) becomes N((1 - r) c, (r sigma_max)^2), r as below."""
    x, c = MEAN + SCALE * draw(Vector(dim=2), 50, 0), MEAN.expand(50, -1)
    low, high = 0.002, 80.0
    r = ((SCALE**2 + low**2) / (SCALE**2 + high**2)).sqrt()
    exact = torch.distributions.Normal((1 - r) * c, r * high).log_prob(x).sum(1)
    with torch.no_grad():
        torch.testing.assert_close(gaussian.log_prob(x, c), exact, rtol=0, atol=1e-4)
        # up to the mean and variance of the data, which sigma_max does not quite drown, this is the data with sigma_min
        data = torch.distributions.Normal(c, (SCALE**2 + low**2).sqrt()).log_prob(x).sum(1)
        torch.testing.assert_close(gaussian.log_prob(x, c), data, rtol=0, atol=0.05)
        z = ((x - c) / r + c) / high
        torch.testing.assert_close(gaussian.encode(x, c), z, rtol=0, atol=1e-5)
        torch.testing.assert_close(gaussian.decode(z, c), x, rtol=0, atol=1e-5)


def test_samples_are_decoded_noise(gaussian):
    """A hundred of Heun's steps, and the one from sigma_min to zero, against adaptive steps to sigma_min."""
    c, noise = MEAN.expand(20, -1), keyed(20)
    with torch.no_grad():
        decoded = gaussian.decode(noise.normal("prior", (2,)), c)
        torch.testing.assert_close(gaussian.sample(20, c, noise=noise), decoded, rtol=0, atol=5e-3)


def test_likelihoods_name_the_noise_that_the_density_includes():
    model = EDMConfig(network=SMALL, sigma_min=0.01).build(Vector(dim=1))
    assert model.likelihood_notes == ("normal base", "data with noise of standard deviation 0.01")


def test_it_learns_two_clusters(train, clusters):
    """Within 0.05 nats of the density of the data, where a single normal distribution is 0.94 off."""
    config = EDMConfig(network=ResidualConfig(width=32, depth=1), sigma_data=1.5, sigma_max=40.0, precision=1e-4)
    model = config.build(Vector(dim=1))
    train(model.stages()[0], lambda number: clusters.batch(256, number), steps=500, lr=5e-3)
    x = clusters.draw(500, seed=10**6)
    with torch.no_grad():
        gap = (clusters.log_prob(x) - model.double().log_prob(x.double())).mean()
    assert gap < 0.05


def test_a_smallest_level_above_the_largest_is_refused():
    with pytest.raises(ConfigError, match=r"edm.sigma_min: expected less than sigma_max, 0.5, found 1.0"):
        EDMConfig(sigma_min=1.0, sigma_max=0.5).build(Vector(dim=1))
