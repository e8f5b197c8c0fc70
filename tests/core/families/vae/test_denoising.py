"""Denoising autoencoders: chains whose stationary distribution is known, walkback, and learning."""

import torch
from maquette.core.data import Batch
from maquette.core.families.vae.corruption import Redraw
from maquette.core.families.vae.denoising import DenoisingConfig
from maquette.core.nets.encoder_decoder import ConvCoderConfig, MLPCoderConfig
from maquette.core.noise import KeyedNoise
from maquette.core.samplers.markov import markov_chain
from maquette.core.spaces import Binary, Field, Levels, Vector
from maquette.core.testing.bench import draw, fit, keyed, shaken
from maquette.core.testing.laws.sampling import check_sample
from maquette.core.testing.laws.training import check_gradients, check_losses

LINEAR = MLPCoderConfig(hidden=())


P = torch.tensor([0.4, 0.05, 0.3, 0.05, 0.2], dtype=torch.float64)
"""Probabilities of five levels."""


def bayes(probability):
    """A model of one feature whose reconstruction is the exact posterior under `P`; the chain's transition matrix."""
    count = len(P)
    config = DenoisingConfig(latent=count, coder=LINEAR, corruption=Redraw(probability=probability), steps=20)
    model = config.build(Vector(dim=1, support=Levels(count=count))).double()
    corruption = (1 - probability) * torch.eye(count, dtype=P.dtype) + probability / count  # C(y | x), x by rows
    posterior = P[:, None] * corruption / (P @ corruption)
    (encoder,), (decoder,) = model.encoder.net, model.decoder.net
    with torch.no_grad():
        for layer, weight in ((encoder, torch.eye(count)), (decoder, posterior.log())):
            layer.weight.copy_(weight)
            layer.bias.zero_()
    return model, corruption @ posterior.T


def test_the_exact_posterior_samples_the_distribution_of_the_data():
    model, transition = bayes(0.6)
    torch.testing.assert_close(P @ transition, P)
    assert (torch.linalg.matrix_power(transition, model.config.steps) - P).abs().max() < 1e-6
    n = 6000
    with torch.no_grad():
        x = model.sample(n, noise=keyed(n))
    frequency = torch.bincount(x[:, 0], minlength=5) / n
    assert ((frequency - P).abs() < 4 * (P * (1 - P) / n).sqrt()).all()


def test_a_step_of_the_chain_corrupts_and_reconstructs():
    model, transition = bayes(0.3)
    n = 6000
    with torch.no_grad():
        x = markov_chain(model.kernel(None), torch.full((n, 1), 2), 1, keyed(n))
    frequency, expected = torch.bincount(x[:, 0], minlength=5) / n, transition[2]
    assert ((frequency - expected).abs() < 4 * (expected * (1 - expected) / n).sqrt()).all()


def test_the_mean_of_exp_bound_is_the_density_of_the_samples():
    model, _ = bayes(0.6)
    n = 2000
    with torch.no_grad():
        weights = model.log_bound(torch.arange(5).repeat(n)[:, None], noise=keyed(5 * n)).exp().view(n, 5)
    value, error = weights.mean(0).log(), weights.std(0) / weights.mean(0) / n**0.5
    assert (error < 0.1).all()
    assert ((value - P.log()).abs() < 4 * error).all()


def test_walkback_adds_the_steps_of_the_chain():
    space, plain = Vector(dim=3), DenoisingConfig(latent=4, coder=LINEAR)
    batch = Batch(draw(space, 6, 1), None, torch.arange(6))
    one = shaken(plain, space, None)
    two = shaken(plain.model_copy(update={"walkback": 2}), space, None)
    first = one.stages()[0].players[0].objective(batch, keyed(6)).losses
    out = two.stages()[0].players[0].objective(batch, keyed(6))
    torch.testing.assert_close(out.metrics["first"], first)
    later = two.kernel(None)(batch.x, keyed(6).fold("step/0"))
    again = two.reconstruct(two.corrupt(later, keyed(6).fold("step/1")), None)
    expected = -two.observation.likelihood.log_prob(again, batch.x).mean(1)
    torch.testing.assert_close(2 * out.losses - first, expected)


def test_images_and_conditions():
    config = DenoisingConfig(latent=3, coder=ConvCoderConfig(channels=4, strides=(2,)), steps=2)
    space = Field(channels=1, grid=(4, 4), periodic=(True, True), support=Binary())
    for check in (check_sample, check_gradients, check_losses):
        check(config, space, Vector(dim=2))


def test_it_learns_two_clusters():
    """Clusters at (1, 1) and (-1, -1): more than 90 % of samples lie in one, and more than 30 % in each."""
    torch.manual_seed(0)
    config = DenoisingConfig(latent=8, coder=MLPCoderConfig(hidden=(32,)), steps=20)
    model = config.build(Vector(dim=2))
    sign = 1 - 2 * (torch.arange(256) % 2)
    noise = KeyedNoise(3, torch.arange(256)).normal("x", (2,))
    batch = Batch(sign[:, None] + 0.1 * noise, None, torch.arange(256))
    fit(model, lambda step: batch, steps=200, lr=1e-2)
    with torch.no_grad():
        x = model.sample(1000, noise=keyed(1000, dtype=torch.float32))
    near = ((x - 1).abs() < 0.5).all(1), ((x + 1).abs() < 0.5).all(1)
    assert (near[0] | near[1]).float().mean() > 0.9
    assert min(float(side.float().mean()) for side in near) > 0.3
