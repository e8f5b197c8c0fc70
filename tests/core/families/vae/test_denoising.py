"""Denoising autoencoders: how samples are spoilt, and that mending them by Bayes' rule draws the data's law."""

import pytest
import torch
from maquette.core.data import Batch
from maquette.core.errors import ConfigError
from maquette.core.families.vae.corruption import GaussianCorruption, Mask, Redraw
from maquette.core.families.vae.denoising import DenoisingConfig
from maquette.core.inference.importance import importance_bound
from maquette.core.nets.encoder_decoder import ConvCoderConfig, MLPCoderConfig
from maquette.core.noise import KeyedNoise
from maquette.core.samplers.markov import markov_chain
from maquette.core.spaces import Binary, Field, Interval, Levels, Real, Vector
from maquette.core.testing.bench import draw, keyed, shaken
from maquette.core.testing.laws.sampling import check_sample
from maquette.core.testing.laws.training import check_gradients, check_losses

LINEAR = MLPCoderConfig(hidden=())


@pytest.mark.parametrize(
    ("corruption", "support", "value", "law"),
    [
        (GaussianCorruption(scale=0.2), Real(), 3.0, {"mean": 3.0, "std": 0.2}),
        (GaussianCorruption(scale=0.001), Interval(low=-50.0, high=150.0), 0.0, {"mean": 0.0, "std": 0.2}),
        (GaussianCorruption(scale=10.0), Interval(low=-1.0, high=2.0), 0.0, {"least": -1.0, "most": 2.0}),
        (Redraw(share=0.4), Binary(), 1.0, {"mean": 0.8, "least": 0.0}),
        (Redraw(share=0.5), Levels(count=5), 4, {"mean": 3.0, "least": 0, "most": 4}),
        (Redraw(share=1.0), Interval(low=-1.0, high=3.0), 0.0, {"mean": 1.0, "std": 4 / 12**0.5}),
        (Mask(share=0.25), Real(), 2.0, {"mean": 1.5, "least": 0.0, "most": 2.0}),
        (Mask(share=0.25), Interval(low=-1.0, high=3.0), 3.0, {"mean": 2.0, "least": -1.0}),
    ],
)
def test_corruptions_are_what_they_say(corruption, support, value, law):
    rows = torch.full((4000, 3), value, dtype=torch.int64 if isinstance(support, Levels) else torch.float64)
    spoilt = corruption.apply(rows, support, keyed(4000))
    assert spoilt.dtype == rows.dtype
    found = {"mean": spoilt.double().mean(), "std": spoilt.double().std(), "least": spoilt.min(), "most": spoilt.max()}
    for name, expected in law.items():
        assert float(found[name]) == pytest.approx(expected, abs=0.06 if name in ("mean", "std") else 0)
    assert torch.equal(corruption.apply(rows[:7], support, keyed(7)), spoilt[:7])


def bayes(law, share):
    """A model of one number of five levels that mends by Bayes' rule what was spoilt from `law`."""
    count = len(law)
    corruption = Redraw(share=share)
    config = DenoisingConfig(latent=count, coder=LINEAR, corruption=corruption, steps=60)
    model = config.build(Vector(dim=1, support=Levels(count=count))).double()
    spoilt = (1 - share) * torch.eye(count, dtype=law.dtype) + share / count  # C(y | x), rows x
    posterior = law[:, None] * spoilt / (law @ spoilt)
    (encoder,), (decoder,) = model.encoder.net, model.decoder.net
    with torch.no_grad():
        for layer, weight in ((encoder, torch.eye(count)), (decoder, posterior.log())):
            layer.weight.copy_(weight)
            layer.bias.zero_()
    return model, spoilt @ posterior.T


def test_mending_by_bayes_rule_draws_the_law_of_the_data():
    law = torch.tensor([0.4, 0.05, 0.3, 0.05, 0.2], dtype=torch.float64)
    model, transition = bayes(law, share=0.6)
    torch.testing.assert_close(law @ transition, law)
    n = 6000
    with torch.no_grad():
        x = model.sample(n, noise=keyed(n))
    share = torch.bincount(x[:, 0], minlength=5) / n
    assert ((share - law).abs() < 4 * (law * (1 - law) / n).sqrt()).all()


def test_a_step_of_the_chain_spoils_and_mends():
    law = torch.tensor([0.4, 0.05, 0.3, 0.05, 0.2], dtype=torch.float64)
    model, transition = bayes(law, share=0.3)
    n = 6000
    with torch.no_grad():
        x = markov_chain(model.kernel(None), torch.full((n, 1), 2), 1, keyed(n))
    share = torch.bincount(x[:, 0], minlength=5) / n
    expected = transition[2]
    assert ((share - expected).abs() < 4 * (expected * (1 - expected) / n).sqrt()).all()


def test_many_chains_know_the_law_of_what_they_draw():
    law = torch.tensor([0.4, 0.05, 0.3, 0.05, 0.2], dtype=torch.float64)
    model, _ = bayes(law, share=0.6)
    x = torch.arange(5)[:, None]
    bound = importance_bound(model, x, noise=keyed(5), draws=2000)
    assert (bound.error < 0.1).all()
    assert ((bound.value - law.log()).abs() < 4 * bound.error).all()


def test_walkback_calls_the_chain_back():
    space, plain = Vector(dim=3), DenoisingConfig(latent=4, coder=LINEAR)
    batch = Batch(draw(space, 6, 1), None, torch.arange(6))
    one = shaken(plain, space, None)
    two = shaken(plain.model_copy(update={"walkback": 2}), space, None)
    first = one.stages()[0].players[0].objective(batch, keyed(6)).losses
    out = two.stages()[0].players[0].objective(batch, keyed(6))
    torch.testing.assert_close(out.metrics["first"], first)
    later = two.kernel(None)(batch.x, keyed(6).fold("step/0"))
    again = two.mend(two.spoil(later, keyed(6).fold("step/1")), None)
    expected = -two.observed.law.log_prob(again, batch.x).mean(1)
    torch.testing.assert_close(2 * out.losses - first, expected)


def test_images_and_conditions():
    config = DenoisingConfig(latent=3, coder=ConvCoderConfig(channels=4, strides=(2,)), steps=2)
    space = Field(channels=1, grid=(4, 4), periodic=(True, True), support=Binary())
    for check in (check_sample, check_gradients, check_losses):
        check(config, space, Vector(dim=2))


@pytest.mark.parametrize(
    ("corruption", "support", "sentence"),
    [
        (Redraw(), Real(), "redraw spoils binary or levels or interval numbers, found real ones; take"),
        (GaussianCorruption(), Levels(count=3), "gaussian spoils real or interval numbers, found levels ones; take"),
    ],
)
def test_a_corruption_of_other_numbers_is_refused(corruption, support, sentence):
    with pytest.raises(ConfigError, match=sentence):
        DenoisingConfig(corruption=corruption).build(Vector(dim=2, support=support))


def test_it_learns_two_clusters():
    torch.manual_seed(0)
    config = DenoisingConfig(latent=8, coder=MLPCoderConfig(hidden=(32,)), steps=20)
    model = config.build(Vector(dim=2))
    sign = 1 - 2 * (torch.arange(256) % 2)
    noise = KeyedNoise(3, torch.arange(256)).normal("x", (2,))
    batch = Batch(sign[:, None] + 0.1 * noise, None, torch.arange(256))
    objective = model.stages()[0].players[0].objective
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for step in range(200):
        optimizer.zero_grad()
        objective(batch, KeyedNoise(0, batch.index, step=step)).losses.mean().backward()
        optimizer.step()
    with torch.no_grad():
        x = model.sample(1000, noise=keyed(1000, dtype=torch.float32))
    near = ((x - 1).abs() < 0.5).all(1), ((x + 1).abs() < 0.5).all(1)
    assert (near[0] | near[1]).float().mean() > 0.9
    assert min(float(side.float().mean()) for side in near) > 0.3
