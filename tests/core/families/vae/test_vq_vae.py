"""Quantised autoencoders: the gradient that goes straight through, codebooks that follow, and priors of their codes."""

import pytest
import torch
from maquette.core.data import Batch
from maquette.core.errors import ConfigError, SpaceError
from maquette.core.families.gan.gan import GANConfig
from maquette.core.families.vae.codebook import Codebook
from maquette.core.families.vae.vae import VAEConfig
from maquette.core.families.vae.vq_vae import VQVAEConfig, straight_through
from maquette.core.noise import KeyedNoise, Recorder
from maquette.core.spaces import Binary, Field, Vector
from maquette.core.testing.bench import draw, keyed, shaken

CONFIG = VQVAEConfig(strides=(2, 2), codes=6, width=3, slots=1, channels=8, prior={"kind": "fvsbn"})
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
        (z - book.embed(index)).square().flatten(1).sum(1)
        for z, book, index in zip(found.vectors, model.books, found.index, strict=True)
    )
    torch.testing.assert_close(found.distance, expected)
    batch = Batch(draw(IMAGE, 3, 1), None, torch.arange(3))
    out = model.stages()[0].players[0].objective(batch, keyed(3))
    reconstruction = model.observed.log_prob(found.parameters, batch.x)
    torch.testing.assert_close(32 * out.losses, 0.25 * expected - reconstruction)


# --- codebooks ----------------------------------------------------------------------------------------


def book_of(codes, decay=0.9, revive=1e-3):
    book = Codebook(*codes.shape, decay=decay, revive=revive).double()
    book.codes.copy_(codes)
    return book


def test_nearest_is_nearest():
    book, z = book_of(normal(7, 3)), normal(5, 4, 3, seed=1)
    index = book.nearest(z)
    assert index.shape == (5, 4)
    assert torch.equal(index, torch.cdist(z.flatten(0, 1), book.codes).argmin(1).view(5, 4))
    assert torch.equal(book.embed(index)[2, 3], book.codes[index[2, 3]])


def test_a_codebook_is_the_decayed_mean_of_what_was_assigned():
    book = book_of(torch.eye(3, dtype=torch.float64), decay=0.8)
    counts, sums = torch.zeros(3, dtype=torch.float64), torch.zeros(3, 3, dtype=torch.float64)
    for step in range(6):
        z, index = normal(40, 3, seed=step), torch.arange(40) % 3
        book.update(book.statistics(z, index, torch.zeros(40)))
        counts, sums = 0.8 * counts, 0.8 * sums
        for k in range(3):
            counts[k] += 0.2 * (index == k).double().sum()
            sums[k] += 0.2 * z[index == k].sum(0)
        torch.testing.assert_close(book.codes, sums / counts[:, None], rtol=0, atol=1e-12)
        torch.testing.assert_close(book.counts, counts, rtol=0, atol=1e-12)


def test_statistics_of_parts_add_up():
    book, z, u = book_of(normal(4, 3)), normal(10, 2, 3, seed=1), torch.rand(10, 2)
    index = book.nearest(z)
    whole = book.statistics(z, index, u)
    parts = [book.statistics(z[rows], index[rows], u[rows]) for rows in (slice(0, 3), slice(3, 10))]
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[0][name] + parts[1][name], tensor)


def test_a_codebook_is_as_precise_among_cast_networks():
    book, z, u = book_of(normal(64, 3)).float(), normal(500, 3, seed=1).float(), torch.rand(500)
    index = book.nearest(z)
    statistics = book.statistics(z, index, u)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(book.nearest(z), index)
        for name, tensor in book.statistics(z, index, u).items():
            assert torch.equal(tensor, statistics[name]), name


def clustered(n=64, seed=0):
    corners = torch.tensor([[5.0, 5.0], [5.0, -5.0], [-5.0, 5.0], [-5.0, -5.0]], dtype=torch.float64)
    return corners[torch.arange(n) % 4] + 0.1 * normal(n, 2, seed=seed)


def integrate(book, steps):
    for step in range(steps):
        z = clustered(seed=step)
        u = KeyedNoise(1, torch.arange(len(z)), step=step, dtype=torch.float64).uniform("half")
        index = book.nearest(z)
        book.update(book.statistics(z, index, u))
    return (z - book.embed(book.nearest(z))).square().sum(1).mean()


def test_dead_codes_are_revived():
    """All vectors are nearest to one code out of sixteen; left alone that would stay so."""
    start = torch.cat((torch.zeros(1, 2), torch.full((15, 2), 100.0))).double()
    left, revived = book_of(start, revive=1e-9), book_of(start, revive=0.05)
    left._split = lambda *halves: None
    assert integrate(left, 30) > 40
    assert left.dead.sum() == 15
    assert integrate(revived, 30) < 0.05
    assert not revived.dead.any()
    again = book_of(start, revive=0.05)
    integrate(again, 30)
    assert torch.equal(again.codes, revived.codes)


def test_a_revival_shares_what_there_is():
    start = torch.cat((torch.zeros(1, 2), torch.full((3, 2), 100.0))).double()
    book = book_of(start, revive=0.05)
    z, u = clustered(), KeyedNoise(1, torch.arange(64), dtype=torch.float64).uniform("half")
    book.update(book.statistics(z, book.nearest(z), u))
    torch.testing.assert_close(book.counts.sum(), torch.tensor(6.4, dtype=torch.float64))
    torch.testing.assert_close(book.counts[:1], torch.tensor([3.2], dtype=torch.float64))
    moved = (book.counts[1:] == book.counts[0]).nonzero()[:, 0] + 1
    assert len(moved) == 1
    torch.testing.assert_close(book.codes[moved[0]], z[u < 0.5].mean(0))
    torch.testing.assert_close(book.sums, book.counts[:, None] * book.codes * (book.counts > 0)[:, None])


# --- levels and priors --------------------------------------------------------------------------------


def test_finer_codes_are_found_given_coarser_ones():
    model = shaken(CONFIG, IMAGE, CONDITION, scale=0.3)
    x, c = draw(IMAGE, 5, 1), draw(CONDITION, 5, 2)
    assert model.tower.shapes == [(1, 1, 2), (1, 2, 4)]
    found = model.quantise(x, c)
    assert [tuple(index.shape[1:]) for index in found.index] == model.tower.shapes
    model.books[0].codes.neg_()
    other = model.quantise(x, c)
    assert torch.equal(other.vectors[0], found.vectors[0])
    assert not torch.allclose(other.vectors[1], found.vectors[1])


def test_codes_decode_to_what_their_pass_saw():
    model = shaken(CONFIG, IMAGE, CONDITION)
    x, c = draw(IMAGE, 5, 1), draw(CONDITION, 5, 2)
    z = model.encode(x, c)
    assert z.shape == (5, 2 + 8)
    torch.testing.assert_close(model.decode(z, c), model.observed.mean(model.quantise(x, c).parameters))
    with pytest.raises(SpaceError, match=r"numbers of codes of shape \(B, 10\), found \(5, 9\)"):
        model.decode(z[:, 1:], c)


def test_the_priors_make_a_chain():
    model = shaken(CONFIG, IMAGE, CONDITION)
    x, c = draw(IMAGE, 5, 1), draw(CONDITION, 5, 2)
    top, bottom = model.quantise(x, c).index
    given = {"condition": c, "codes/0": model.books[0].embed(top)[:, 0].movedim(-1, 1)}
    codes = model.priors[0].log_prob(top, c) + model.priors[1].log_prob(bottom, given)
    pixels = model.observed.log_prob(model.generate([top, bottom], c), x)
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


def test_only_the_first_act_moves_the_codebook():
    model = shaken(CONFIG, IMAGE, None)
    before = [book.codes.clone() for book in model.books]
    batch = Batch(draw(IMAGE, 5, 1), None, torch.arange(5))
    codes, *priors = (stage.players[0].objective for stage in model.stages())
    for prior in priors:
        prior.update(prior(batch, keyed(5)).statistics)
    assert all(torch.equal(book.codes, old) for book, old in zip(model.books, before, strict=True))
    codes.update(codes(batch, keyed(5)).statistics)
    assert all((book.codes != old).any() for book, old in zip(model.books, before, strict=True))


@pytest.mark.parametrize(
    ("update", "space", "sentence"),
    [
        ({"strides": (3,)}, IMAGE, r"vq-vae.strides: a stride of 3 does not divide a grid of \[4, 8\]"),
        (
            {"prior": VQVAEConfig().prior},
            Vector(dim=4),
            "vq-vae.prior: level 0 has 1 code per sample; raise `slots`, .* transformer: expected at least 2",
        ),
        ({"prior": GANConfig.example()}, IMAGE, "this model takes .* of real support"),
        ({"prior": VAEConfig.example()}, IMAGE, '"vae" cannot both draw codes and say how likely they are'),
    ],
)
def test_impossible_models_are_refused(update, space, sentence):
    with pytest.raises(ConfigError, match=sentence):
        CONFIG.model_copy(update=update).build(space)


def test_the_usual_prior_is_a_transformer():
    assert VQVAEConfig().prior.kind == "transformer"


def test_it_finds_patterns_and_how_often_they_are_met():
    """Four patterns of six coins, one twice as frequent: samples are these, in these proportions."""
    torch.manual_seed(0)
    config = VQVAEConfig(strides=(1,), codes=8, width=2, channels=16, decay=0.9, prior={"kind": "fvsbn"})
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
