"""The generator is Philox-4x32-10 to the bit, and draws depend on their keys alone."""

import itertools
import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from maquette.core.noise import KeyedNoise, Recorder, TapeNoise
from maquette.core.philox import Fused, compiled_draws, philox
from maquette.core.testing.operations import OperationCount
from torch._dynamo.testing import CompileCounter

# Random123's kat_vectors: counter, key, result
VECTORS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def keyed(n=1000, **keys):
    return KeyedNoise(keys.pop("seed", 7), torch.arange(n), **keys)


@pytest.mark.parametrize(("counter", "key", "expected"), VECTORS)
def test_philox_known_answers(counter, key, expected):
    words = philox(tuple(torch.tensor([word]) for word in counter), key)
    assert tuple(int(word) for word in words) == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normal_moments(dtype):
    x = keyed(20_000, dtype=dtype).normal("z", (7,)).double()
    n = x.numel()
    assert abs(x.mean()) < 4 / math.sqrt(n)
    assert abs(x.var() - 1) < 4 * math.sqrt(2 / n)
    assert abs((x**4).mean() - 3) < 4 * math.sqrt(96 / n)
    correlation = torch.corrcoef(x.T) - torch.eye(7)
    assert correlation.abs().max() < 5 / math.sqrt(len(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform_is_open_and_flat(dtype):
    u = keyed(50_000, dtype=dtype).uniform("u", (3,))
    assert u.dtype == dtype
    assert u.min() > 0
    assert u.max() < 1
    counts = torch.histc(u.double(), bins=50, min=0, max=1)
    expected = u.numel() / 50
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi2 - 49) < 5 * math.sqrt(2 * 49)


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3)])
@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_draws_do_not_depend_on_the_batch(distribution, shape):
    whole = getattr(keyed(10), distribution)("x", shape)
    assert whole.shape == (10, *shape)
    some = getattr(KeyedNoise(7, torch.tensor([8, 2])), distribution)("x", shape)
    assert torch.equal(some, whole[[8, 2]])


def test_a_longer_draw_begins_with_the_shorter():
    # so a sampler can later draw more values without changing those that it has
    assert torch.equal(keyed(4).normal("x", (9,))[:, :4], keyed(4).normal("x", (4,)))


@pytest.mark.parametrize(
    "other",
    [
        keyed(100, seed=8),
        keyed(100, stream="other"),
        keyed(100, step=1),
        keyed(100).fold("part"),
        KeyedNoise(7, torch.arange(100) + 2**32),
    ],
)
def test_every_key_counts(other):
    here, there = keyed(100).normal("x", (10,)), other.normal("x", (10,))
    assert abs(torch.corrcoef(torch.stack((here.flatten(), there.flatten())))[0, 1]) < 4 / math.sqrt(1000)
    assert abs(
        torch.corrcoef(torch.stack((here.flatten(), keyed(100).normal("y", (10,)).flatten())))[0, 1]
    ) < 4 / math.sqrt(1000)


def test_folds_nest_without_collision():
    noise = keyed(5)
    assert torch.equal(noise.fold("a").fold("b").normal("x"), noise.fold("a").fold("b").normal("x"))
    assert not torch.equal(noise.fold("a").fold("b").normal("x"), noise.fold("b").fold("a").normal("x"))


def test_at_moves_the_step_and_the_samples():
    noise = keyed(5)
    assert torch.equal(noise.at(step=3).normal("x"), keyed(5, step=3).normal("x"))
    assert torch.equal(noise.at(index=torch.tensor([4])).normal("x"), noise.normal("x")[4:])


def test_a_recorded_tape_plays_back():
    recorder = Recorder(keyed(3))
    z, u = recorder.fold("part").normal("z", (2,)), recorder.uniform("u")
    assert recorder.distributions == {"part/z": "normal", "u": "uniform"}
    tape = TapeNoise(recorder.tape)
    assert tape.batch_size == 3
    assert torch.equal(tape.fold("part").normal("z", (2,)), z)
    assert torch.equal(tape.uniform("u"), u)
    with pytest.raises(KeyError, match='holds no noise named "w"'):
        tape.normal("w")


def draws(index, step, seed):
    noise = KeyedNoise(seed, index, "train", step)
    return noise.normal("z", (5,)), noise.uniform("u", (3,)), noise.fold("a").normal("q")


def test_a_compiled_region_has_the_same_bits_and_holds_for_every_step_and_seed():
    graphs = CompileCounter()
    compiled = torch.compile(draws, backend=graphs, fullgraph=True)
    index = torch.arange(6) + 2**33
    for seed, step in itertools.product((3, 5, 8), (0, 1, 2, 7)):
        found, expected = compiled(index, torch.tensor(step), seed), draws(index, step, seed)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert graphs.frame_count <= 2  # the second for integers that change, as torch compiles all of them


def test_a_draw_takes_few_kernels():
    # 143 and 132 before the halves of a round became one
    for draw, most in (("normal", 85), ("uniform", 76)):
        noise = keyed(10)
        getattr(noise, draw)("x", (5,))  # keys are kept
        with OperationCount() as count:
            getattr(noise, draw)("x", (5,))
        assert count.total <= most


@pytest.mark.parametrize("spoilt", ["bits", "compiler"])
def test_noise_that_cannot_be_compiled_to_the_same_bits_is_not(spoilt):
    def compile(function, dynamic):
        if spoilt == "compiler":
            raise RuntimeError("no compiler")
        return lambda index: function(index) + 1

    fused = Fused(lambda index: index * 2, compile, devices=("cpu",))
    with pytest.warns(UserWarning, match="draws are slower"):
        assert fused(torch.arange(3)).tolist() == [0, 2, 4]
    assert fused(torch.arange(2)).tolist() == [0, 2]


def test_compiled_noise_is_compiled_once():
    compiled = []

    def compile(function, dynamic):
        compiled.append(function)
        return lambda index: function(index)

    fused = Fused(lambda index: index * 2, compile, devices=("cpu",))
    assert [fused(torch.arange(n)).tolist() for n in (1, 2)] == [[0], [0, 2]]
    assert len(compiled) == 1


def test_draws_are_compiled_on_a_cpu_where_that_is_asked_for_and_in_no_other_thread():
    """The order of the next epoch is drawn in a thread, while the first step may be compiling its noise."""
    compiled = []
    draw = Fused(lambda index: index * 2, lambda function, dynamic: compiled.append(function) or function)
    index = torch.arange(3)
    with compiled_draws(enabled=False):
        draw(index)
    with compiled_draws(), ThreadPoolExecutor(1) as thread:
        assert thread.submit(draw, index).result().tolist() == [0, 2, 4]
        assert compiled == []
        assert draw(index).tolist() == [0, 2, 4]
    assert compiled == [draw.function]
    draw(index)
    assert compiled == [draw.function]
