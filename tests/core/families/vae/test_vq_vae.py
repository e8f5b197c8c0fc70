"""Quantised autoencoders: straight-through gradients, commitment, levels of codes and their priors."""

import pytest
import torch
from maquette.core.data import Batch
from maquette.core.errors import ConfigError, SpaceError
from maquette.core.families.gan.gan import GANConfig
from maquette.core.families.vae.vae import VAEConfig
from maquette.core.families.vae.vq_vae import VQVAEConfig, straight_through
from maquette.core.noise import KeyedNoise, Recorder
from maquette.core.spaces import Binary, Field, Vector
from maquette.core.testing.bench import draw, keyed, shaken

CONFIG = VQVAEConfig(
    strides=(2, 2), codebook_size=6, embedding_dim=3, codes_per_cell=1, channels=8, prior={"kind": "fvsbn"}
)
IMAGE, CONDITION = Field(channels=1, grid=(4, 8), periodic=(True, False), support=Binary()), Vector(dim=2)


def normal(*shape, seed=0):
    return KeyedNoise(seed, torch.arange(shape[0]), dtype=torch.float64).normal("x", shape[1:])


def test_quantisation_passes_gradients_straight_through():
    z, code = normal(4, 3).requires_grad_(), normal(4, 3, seed=1)
    out = straight_through(z, code)
    torch.testing.assert_close(out, code)
    weight = normal(4, 3, seed=2)
    (slope,) = torch.autograd.grad((weight * out**2).sum(), z)
    torch.testing.assert_close(slope, 2 * weight * code)


def test_commitment_pulls_vectors_to_their_codes():
    model = shaken(CONFIG, IMAGE, None)
    found = model.quantise(draw(IMAGE, 3, 1))
    expected = sum(
        (z - codebook.embed(index)).square().flatten(1).sum(1)
        for z, codebook, index in zip(found.vectors, model.codebooks, found.codes, strict=True)
    )
    torch.testing.assert_close(found.distance, expected)
    batch = Batch(draw(IMAGE, 3, 1), None, torch.arange(3))
    out = model.stages()[0].players[0].objective(batch, keyed(3))
    reconstruction = model.observation.log_prob(found.parameters, batch.x)
    torch.testing.assert_close(32 * out.losses, 0.25 * expected - reconstruction)


def test_the_loss_pulls_vectors_to_their_entries(monkeypatch):
    """At the finest level, where nothing else depends on a vector: the decoder's gradient, and that of commitment."""
    model = shaken(CONFIG, IMAGE, None)
    batch = Batch(draw(IMAGE, 3, 1), None, torch.arange(3))
    found = model.quantise(batch.x)
    monkeypatch.setattr(model, "quantise", lambda x, condition=None: found)
    losses = model.stages()[0].players[0].objective(batch, keyed(3)).losses
    z, entries = found.vectors[-1], model.codebooks[-1].embed(found.codes[-1])
    reconstruction = model.observation.log_prob(found.parameters, batch.x)
    (slope,) = torch.autograd.grad(losses.sum(), z, retain_graph=True)
    (wanted,) = torch.autograd.grad(reconstruction.sum(), z)
    assert (z - entries).abs().max() > 0.1
    torch.testing.assert_close(32 * slope, 0.25 * 2 * (z - entries) - wanted)


def test_finer_codes_are_found_given_coarser_ones():
    model = shaken(CONFIG, IMAGE, CONDITION, scale=0.3)
    x, c = draw(IMAGE, 5, 1), draw(CONDITION, 5, 2)
    assert model.network.shapes == [(1, 1, 2), (1, 2, 4)]
    found = model.quantise(x, c)
    assert [tuple(index.shape[1:]) for index in found.codes] == model.network.shapes
    model.codebooks[0].entries.neg_()
    other = model.quantise(x, c)
    assert torch.equal(other.vectors[0], found.vectors[0])
    assert not torch.allclose(other.vectors[1], found.vectors[1])


def test_codes_decode_to_what_the_encoder_decoded():
    model = shaken(CONFIG, IMAGE, CONDITION)
    x, c = draw(IMAGE, 5, 1), draw(CONDITION, 5, 2)
    z = model.encode(x, c)
    assert z.shape == (5, 2 + 8)
    torch.testing.assert_close(model.decode(z, c), model.observation.mean(model.quantise(x, c).parameters))
    with pytest.raises(SpaceError, match=r"expected codes of shape \(B, 10\), found \(5, 9\)"):
        model.decode(z[:, 1:], c)


def test_the_priors_make_a_chain():
    model = shaken(CONFIG, IMAGE, CONDITION)
    x, c = draw(IMAGE, 5, 1), draw(CONDITION, 5, 2)
    top, bottom = model.quantise(x, c).codes
    given = {"condition": c, "codes/0": model.codebooks[0].embed(top)[:, 0].movedim(-1, 1)}
    codes = model.priors[0].log_prob(top, c) + model.priors[1].log_prob(bottom, given)
    pixels = model.observation.log_prob(model.generate([top, bottom], c), x)
    torch.testing.assert_close(model.log_bound(x, c, noise=keyed(5)), codes + pixels)
    stages = model.stages()
    assert [stage.name for stage in stages] == ["codes", "prior/0", "prior/1"]
    batch = Batch(x, c, torch.arange(5))
    losses = [
        2 * stages[1].players[0].objective(batch, keyed(5)).losses,
        8 * stages[2].players[0].objective(batch, keyed(5)).losses,
    ]
    torch.testing.assert_close(-sum(losses), codes)
    recorder = Recorder(keyed(3))
    model.sample(3, c[:3], noise=recorder)
    assert list(recorder.tape) == ["prior/0/numbers", "prior/1/numbers", "numbers"]


def test_only_the_first_stage_moves_the_codebook():
    model = shaken(CONFIG, IMAGE, None)
    before = [codebook.entries.clone() for codebook in model.codebooks]
    batch = Batch(draw(IMAGE, 5, 1), None, torch.arange(5))
    codes, *priors = (stage.players[0].objective for stage in model.stages())
    for prior in priors:
        prior.update(prior(batch, keyed(5)).statistics)
    assert all(torch.equal(codebook.entries, old) for codebook, old in zip(model.codebooks, before, strict=True))
    codes.update(codes(batch, keyed(5)).statistics)
    assert all((codebook.entries != old).any() for codebook, old in zip(model.codebooks, before, strict=True))


@pytest.mark.parametrize(
    ("update", "space", "sentence"),
    [
        ({"strides": (3,)}, IMAGE, r"vq-vae.strides: a stride of 3 does not divide a grid of \[4, 8\]"),
        (
            {"prior": VQVAEConfig().prior},
            Vector(dim=4),
            "vq-vae.prior: level 0 has 1 code per sample; raise `codes_per_cell` .* transformer: expected at least 2",
        ),
        ({"prior": GANConfig.example()}, IMAGE, "this model takes .* of real support"),
        ({"prior": VAEConfig.example()}, IMAGE, '"vae" has no samples of codes with a density'),
    ],
)
def test_impossible_models_are_refused(update, space, sentence):
    with pytest.raises(ConfigError, match=sentence):
        CONFIG.model_copy(update=update).build(space)


def test_the_usual_prior_is_a_transformer():
    assert VQVAEConfig().prior.kind == "transformer"


def test_it_learns_patterns_and_their_frequencies():
    """Four patterns of six coins, one twice as frequent: samples are these, in these proportions."""
    torch.manual_seed(0)
    config = VQVAEConfig(
        strides=(1,), codebook_size=8, embedding_dim=2, channels=16, decay=0.9, prior={"kind": "fvsbn"}
    )
    model = config.build(Vector(dim=6, support=Binary()))
    patterns = torch.tensor([[0, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1], [1, 1, 1, 1, 1, 1]]).float()
    met = torch.tensor([0, 1, 2, 3, 3])[torch.arange(100) % 5]
    batch = Batch(patterns[met], None, torch.arange(100))
    for stage, rate, steps in zip(model.stages(), (1e-2, 1e-1), (160, 60), strict=True):
        (player,) = stage.players
        optimizer = torch.optim.Adam(player.networks[0].parameters(), rate)
        for step in range(steps):
            optimizer.zero_grad()
            out = player.objective(batch, KeyedNoise(0, batch.index, step=step))
            out.losses.mean().backward()
            optimizer.step()
            player.objective.update(out.statistics)
    with torch.no_grad():
        distance = torch.cdist(model.sample(2000, noise=keyed(2000, dtype=torch.float32)), patterns)
    assert (distance.min(1).values == 0).float().mean() > 0.9
    share = torch.bincount(distance.argmin(1), minlength=4) / 2000
    torch.testing.assert_close(share, torch.tensor([0.2, 0.2, 0.2, 0.4]), rtol=0, atol=0.06)
