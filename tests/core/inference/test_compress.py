"""Archives: their size, what they restore, and what they refuse."""

import math
import struct
import sys

import pytest
import torch
from maquette.core.errors import ArtifactError, SpaceError
from maquette.core.families.autoregressive.fvsbn import FVSBNConfig
from maquette.core.families.autoregressive.made import MADEConfig
from maquette.core.families.autoregressive.nade import NADEConfig
from maquette.core.families.autoregressive.transformer import TransformerConfig
from maquette.core.inference import compress as module
from maquette.core.inference.compress import HEADER, compress, decompress
from maquette.core.likelihoods.logistic import LogisticMixtureConfig
from maquette.core.spaces import Binary, Field, Levels, Product, Sequence, Vector, batch_size
from maquette.core.testing.bench import draw, keyed, shaken

pytest.importorskip("constriction")

TRANSFORMER = TransformerConfig(width=8, depth=2, heads=2)
COINS = Vector(dim=10, support=Binary())


def sampled(model, n, condition=None):
    with torch.no_grad():
        return model.sample(n, condition, noise=keyed(n, dtype=next(model.parameters()).dtype))


@pytest.fixture(scope="module")
def coins():
    return shaken(FVSBNConfig(), COINS, None, scale=1.0)


@pytest.fixture(scope="module")
def archive(coins):
    return compress(coins, sampled(coins, 50))


@pytest.mark.parametrize(
    ("config", "space"),
    [
        (FVSBNConfig(), COINS),
        (NADEConfig(hidden=(16,)), Field(channels=1, grid=(4, 4), support=Binary())),
        (MADEConfig(hidden=(32,), order="random"), Vector(dim=12, support=Levels(count=5))),
        (TRANSFORMER, Sequence(length=16, vocabulary=27)),
        (
            TRANSFORMER.model_copy(update={"likelihood": LogisticMixtureConfig(components=3)}),
            Field(channels=3, grid=(2, 2), support=Levels(count=256)),
        ),
    ],
    ids=lambda value: value.kind,
)
def test_bits_are_those_of_the_likelihood(config, space):
    """Within 0.1 % and the two words that end the code; in single precision."""
    model = shaken(config, space, None, scale=0.5).float()
    x = sampled(model, 1000)
    archive = compress(model, x)
    with torch.no_grad():
        expected = -model.log_prob(x).double().sum().item() / math.log(2)
    assert expected > 5000
    assert 8 * (len(archive) - HEADER) == pytest.approx(expected, rel=1e-3, abs=64)
    again = decompress(model, archive)
    assert again.dtype == x.dtype
    assert torch.equal(again, x)


def test_unlikely_samples_cost_their_negative_log_likelihood(coins):
    x = draw(COINS, 1000, seed=3)
    archive = compress(coins, x)
    expected = -coins.log_prob(x).sum().item() / math.log(2)
    assert expected > 1.1 * 10_000  # more than plain bits
    assert 8 * (len(archive) - HEADER) == pytest.approx(expected, rel=1e-3, abs=64)
    assert torch.equal(decompress(coins, archive), x)


def test_named_parts_and_conditions_come_back_in_their_places():
    space = Product(parts={"a": Vector(dim=3, support=Levels(count=4)), "b": Vector(dim=2, support=Levels(count=4))})
    condition = Vector(dim=2)
    model = shaken(MADEConfig.example(), space, condition, scale=1.0)
    x, c = draw(space, 9, seed=1), draw(condition, 9, seed=2)
    archive = compress(model, x, c)
    again = decompress(model, archive, c)
    assert set(again) == {"a", "b"}
    assert all(torch.equal(again[name], x[name]) for name in x)
    with pytest.raises(SpaceError, match="expected 9 rows, one per sample of the archive, found 8"):
        decompress(model, archive, c[:8])
    with pytest.raises(ArtifactError, match="does not match its digest"):
        decompress(model, archive, c + 1)


@pytest.mark.parametrize("n", [1, 7])
def test_any_number_of_samples(coins, n):
    x = sampled(coins, n)
    assert batch_size(decompress(coins, compress(coins, x))) == n
    assert torch.equal(decompress(coins, compress(coins, x)), x)


def test_another_model_cannot_read_it(coins, archive):
    other = shaken(FVSBNConfig(), COINS, None, seed=1, scale=1.0)
    with pytest.raises(ArtifactError, match="the model, the conditions, the device"):
        decompress(other, archive)
    wider = shaken(FVSBNConfig(), Vector(dim=11, support=Binary()), None)
    with pytest.raises(ArtifactError, match="expected samples of 11 features of 2 levels, found 10 of 2"):
        decompress(wider, archive)


def test_every_flipped_byte_is_an_error(coins, archive, monkeypatch):
    monkeypatch.setattr("maquette.core.inference.compress.LIMIT", 2**18)  # else a header may name millions
    for byte in range(len(archive)):
        damaged = bytearray(archive)
        damaged[byte] ^= 0x41
        with pytest.raises(ArtifactError):
            decompress(coins, bytes(damaged))


@pytest.mark.parametrize("cut", [0, 3, HEADER - 1, HEADER, HEADER + 2, -4])
def test_a_part_of_an_archive_is_an_error(coins, archive, cut):
    with pytest.raises(ArtifactError):
        decompress(coins, archive[:cut])


@pytest.mark.parametrize("more", [bytes(4), b"more"])
def test_what_follows_an_archive_is_an_error(coins, archive, more):
    with pytest.raises(ArtifactError, match=r"ends in a zero word|does not match its digest"):
        decompress(coins, archive + more)


@pytest.mark.parametrize("n", [0, 2**32 - 1])
def test_a_wrong_number_of_samples_in_the_header_is_an_error(coins, archive, n):
    claimed = archive[:5] + struct.pack("<I", n) + archive[9:]
    with pytest.raises(ArtifactError, match=f"its header says {n}"):
        decompress(coins, claimed)


@pytest.mark.parametrize("value", [2.0, -1.0, 0.5, math.nan])
def test_values_that_are_not_levels_are_refused(coins, value):
    x = draw(COINS, 3, seed=1)
    x[1, 2] = value
    with pytest.raises(SpaceError, match="expected whole numbers from 0 to 1"):
        compress(coins, x)


def test_too_few_and_too_many_are_refused(coins, monkeypatch):
    with pytest.raises(SpaceError, match=r"expected 1 to .* samples of 10 features of 2 levels, found 0"):
        compress(coins, torch.zeros(0, 10).double())
    monkeypatch.setattr(module, "LIMIT", 40)
    assert compress(coins, torch.zeros(2, 10).double())
    with pytest.raises(SpaceError, match=r"expected 1 to 2 samples .* found 3; write more into several archives"):
        compress(coins, torch.zeros(3, 10).double())


def test_real_features_are_refused():
    model = shaken(FVSBNConfig(), Vector(dim=3), None)
    with pytest.raises(SpaceError, match="found real ones"):
        compress(model, draw(Vector(dim=3), 2, seed=1))


def test_without_the_coder_the_error_says_how_to_install_it(coins, monkeypatch):
    monkeypatch.setitem(sys.modules, "constriction", None)
    with pytest.raises(ModuleNotFoundError, match=r"-m pip install constriction$") as caught:
        compress(coins, draw(COINS, 3, seed=1))
    assert caught.value.name == "constriction"
