"""Samples are a function of seed, index and condition; files go on where they were stopped."""

import shutil

import h5py
import maquette
import numpy as np
import pytest
import torch
import toy
from maquette.core import memory
from maquette.core.engine.world import World
from maquette.core.errors import ArtifactError, ConfigError
from maquette.data_specs.errors import DataError
from maquette.pipelines import streaming
from maquette.pipelines.arguments import DataSide
from maquette.pipelines.fit import fit
from maquette.pipelines.generate import condition_words, generate
from maquette.pipelines.load import load


def content(file):
    with h5py.File(file) as stream:
        return stream["x"][:], stream["angle"][:]


@pytest.mark.parametrize("seed", [-1, 2**31, 2**70, 1.5, "7", None])
def test_a_seed_is_bounded_everywhere(fitted, data, folder, seed):
    ways = (
        lambda: load(fitted).sample(5, seed=seed),
        lambda: generate(fitted, n=5, seed=seed, out="x.h5"),
        lambda: maquette.simulate("toy", n=5, seed=seed, out="x.h5"),
        lambda: maquette.validate("toy", reference=data, generated=data, out="v", seed=seed, track=False),
        lambda: maquette.demo("toy", seed=seed),
    )
    for way in ways:
        with pytest.raises(ConfigError, match="seed: expected a whole number from 0 to 2147483647"):
            way()
    assert list(folder.iterdir()) == []


def test_a_seed_of_numpy_is_one_too(fitted):
    assert torch.equal(load(fitted).sample(5, seed=np.int64(7)), load(fitted).sample(5, seed=7))


def test_rows_without_their_file_are_refused(maquette, fitted, folder):
    result = maquette("generate", fitted, "--n", 5, "--out", "x.h5", "--conditions-rows", "0:5")
    assert result.exit_code == 2
    assert "--conditions-rows chooses rows of the file that --conditions-from names" in result.stderr


def test_the_python_interface(fitted):
    model = maquette.load(fitted)
    x = model.sample(100, seed=7)
    assert x.shape == (100, 2)
    assert torch.equal(x, model.sample(100, seed=7))
    assert not torch.equal(x, model.sample(100, seed=8))


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
def test_whatever_the_batch_size_the_samples_are_the_same(fitted, batch_size):
    model = load(fitted)
    torch.testing.assert_close(
        model.sample(50, seed=7, batch_size=batch_size), model.sample(50, seed=7), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("budget", [1, 4000])
def test_batches_are_what_fits_into_memory(fitted, folder, monkeypatch, budget):
    whole = load(fitted).sample(130, seed=7)
    monkeypatch.setitem(memory.WORKING_BYTES, "cpu", budget)
    model, draw, sizes = load(fitted), maquette.pipelines.load.Model.draw, []

    def counted(self, index, *rest):
        sizes.append(len(index))
        return draw(self, index, *rest)

    monkeypatch.setattr(maquette.pipelines.load.Model, "draw", counted)
    torch.testing.assert_close(model.sample(130, seed=7), whole, rtol=0, atol=1e-5)
    measured, fitting = sizes[:2], set(sizes[2:-1])
    assert measured == [1, 2]
    assert len(fitting) == 1
    assert max(fitting) == 1 if budget == 1 else 1 < max(fitting) < 128
    generate(fitted, n=130, seed=7, out="x.h5")
    np.testing.assert_allclose(content("x.h5")[0], whole, atol=1e-5)
    assert max(sizes) == max(2, *fitting)
    del sizes[:]
    model.sample(130, seed=8)
    assert set(sizes[:-1]) == fitting  # known from before
    model.sample(1)
    assert sizes[-1] == 1


def test_simulated_batches_are_what_fits_into_memory(folder, monkeypatch):
    maquette.simulate("toy", n=40, seed=3, out="whole.h5")
    monkeypatch.setitem(memory.WORKING_BYTES, "cpu", 32 * 4 * 3 * 10)  # ten points and their angles
    simulate, sizes = toy.ToySimulator.simulate, []

    def counted(self, index, seed):
        sizes.append(len(index))
        return simulate(self, index, seed)

    monkeypatch.setattr(toy.ToySimulator, "simulate", counted)
    maquette.simulate("toy", n=40, seed=3, out="parts.h5")
    assert sizes == [1, 8, 8, 8, 8, 8]
    np.testing.assert_allclose(content("parts.h5")[0], content("whole.h5")[0], atol=1e-6)


def test_a_killed_run_goes_on_with_another_batch_size(fitted, folder):
    generate(fitted, n=300, seed=7, out="whole.h5", batch_size=64)
    shutil.copy("whole.h5", "cut.h5.partial")
    with h5py.File("cut.h5.partial", "a") as stream:
        for name in ("x", "angle"):
            stream[name].resize(100, axis=0)
    assert generate(fitted, n=300, seed=7, out="cut.h5", batch_size=7).throughput.samples == 200
    np.testing.assert_array_equal(content("cut.h5")[0][:100], content("whole.h5")[0][:100])
    np.testing.assert_allclose(content("cut.h5")[0], content("whole.h5")[0], atol=1e-5)


def test_later_samples_can_be_drawn_alone(fitted):
    model = load(fitted)
    torch.testing.assert_close(model.sample(10, seed=7, first=40), model.sample(50, seed=7)[40:], rtol=0, atol=1e-5)


def test_a_file_holds_what_the_model_samples(fitted, folder):
    done = generate(fitted, n=130, seed=7, out="x.h5", batch_size=64)
    assert done.throughput.samples == 130
    np.testing.assert_allclose(content("x.h5")[0], load(fitted).sample(130, seed=7), atol=1e-5)


def test_the_same_batch_size_gives_the_same_bytes(fitted, folder):
    for name in ("a.h5", "b.h5"):
        generate(fitted, n=130, seed=7, out=name, batch_size=64)
    assert (folder / "a.h5").read_bytes() == (folder / "b.h5").read_bytes()


def test_a_killed_run_goes_on_and_ends_the_same(fitted, folder, monkeypatch):
    generate(fitted, n=300, seed=7, out="whole.h5", batch_size=64)
    draw, calls = maquette.pipelines.load.Model.draw, []

    def dies(self, index, *rest):
        calls.append(int(index[0]))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return draw(self, index, *rest)

    monkeypatch.setattr(maquette.pipelines.load.Model, "draw", dies)
    with pytest.raises(KeyboardInterrupt):
        generate(fitted, n=300, seed=7, out="killed.h5", batch_size=64)
    assert not (folder / "killed.h5").exists()
    generate(fitted, n=300, seed=7, out="killed.h5", batch_size=64)
    assert calls == [0, 64, 128, 128, 192, 256]
    for one, other in zip(content("killed.h5"), content("whole.h5"), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_stop_within_a_batch_keeps_batches_where_they_were(fitted, folder, monkeypatch):
    generate(fitted, n=300, seed=7, out="whole.h5", batch_size=64)
    shutil.copy("whole.h5", "cut.h5.partial")
    with h5py.File("cut.h5.partial", "a") as stream:
        for name in ("x", "angle"):
            stream[name].resize(100, axis=0)
    done = generate(fitted, n=300, seed=7, out="cut.h5", batch_size=64)
    assert done.throughput.samples == 200
    np.testing.assert_array_equal(content("cut.h5")[0], content("whole.h5")[0])


def test_a_complete_file_is_left_alone_and_another_command_refused(fitted, folder):
    generate(fitted, n=10, seed=7, out="x.h5")
    before = (folder / "x.h5").read_bytes()
    assert "complete" in str(generate(fitted, n=10, seed=7, out="x.h5").throughput)
    with pytest.raises(DataError, match="begun by another command"):
        generate(fitted, n=10, seed=8, out="x.h5")
    with pytest.raises(DataError, match="begun by another command"):
        generate(fitted, n=10, seed=7, out="x.h5", conditions={"angle": "1"})
    assert (folder / "x.h5").read_bytes() == before


def test_conditions_by_word(fitted, maquette, folder):
    result = maquette("generate", fitted, "--n", 20, "--seed", 1, "--out", "x.h5", "condition.angle=0.5")
    assert result.exit_code == 0, result.output
    assert "samples/s" in result.stdout
    assert "% writing" in result.stdout
    assert np.all(content("x.h5")[1] == 0.5)


def test_conditions_from_a_file(fitted, data, folder):
    done = generate(fitted, seed=1, out="x.h5", conditions_from=maquette.DataSide(data, "100:150"), batch_size=16)
    assert done.n == 50
    np.testing.assert_array_equal(content("x.h5")[1], content(data)[1][100:150])
    with pytest.raises(ConfigError, match=r"has 900 conditions\."):
        generate(fitted, n=901, out="y.h5", conditions_from=data)
    with pytest.raises(ConfigError, match="has 900 conditions, for 3 samples each"):
        generate(fitted, n=2701, out="y.h5", conditions_from=data, per_condition=3)
    with pytest.raises(ConfigError, match="--per-condition 0"):
        generate(fitted, out="y.h5", conditions_from=data, per_condition=0)


def test_several_samples_for_each_condition(maquette, fitted, data, folder):
    words = ["--conditions-from", data, "--conditions-rows", "100:120", "--per-condition", 3]
    result = maquette("generate", fitted, "--seed", 1, "--out", "each.h5", *words, "--batch-size", 7)
    assert result.exit_code == 0, result.output
    x, angle = content("each.h5")
    np.testing.assert_array_equal(angle, content(data)[1][100:120].repeat(3, axis=0))
    assert len(np.unique(x[:, 0])) == 60  # each has noise of its own
    with h5py.File("each.h5") as stream, h5py.File(data) as source:
        assert (stream.attrs["per_condition"], stream.attrs["source_rows"]) == (3, "100:120")
        again = load(fitted).domain.open(source.filename, {})
        assert stream.attrs["source_sha256"] == again.digest
        assert stream.attrs["conditions"].endswith(again.rows(100, 120).digest)
    model = load(fitted)
    given = {"angle": torch.from_numpy(angle)}
    np.testing.assert_allclose(x, model.sample(60, given, seed=1).numpy(), atol=1e-5)  # sample i is a function of i
    side = DataSide(data, "100:120")
    assert generate(fitted, n=10, seed=1, out="ten.h5", conditions_from=side, per_condition=3).n == 10
    np.testing.assert_allclose(content("ten.h5")[0], x[:10], atol=1e-5)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["--per-condition", "3", "--n", "5"],
            "says how many samples, one or more, each row of --conditions-from gets",
        ),
        (["condition.angel=1", "--n", "5"], "expected condition.angle=RADIANS"),
        (["angle=1", "--n", "5"], "conditions are written condition.NAME=VALUE"),
        ([], "how many samples?"),
        (["--n", "5", "--device", "tpu9"], "is not a device"),
    ],
)
def test_bad_input_is_a_sentence(maquette, fitted, folder, words, expected):
    result = maquette("generate", fitted, "--out", "x.h5", *words)
    assert result.exit_code == 2
    assert expected in result.stderr
    assert not (folder / "x.h5").exists()


def test_one_condition_with_two_values_is_refused():
    with pytest.raises(ConfigError, match=r"condition\.energy: is given twice"):
        condition_words(["condition.energy=2000", "condition.energy=6000"])


def test_condition_words():
    assert condition_words(["condition.energy=5e4", "condition.particle=11"]) == {"energy": "5e4", "particle": "11"}


def test_a_pickle_is_never_read(fitted, folder):
    run = folder / "run"
    shutil.copytree(fitted, run)
    torch.save({"weight": torch.ones(3)}, run / "model" / "weights.safetensors")
    with pytest.raises(ArtifactError, match="this is a pickle"):
        load(run)
    torch.save({"weight": torch.ones(3)}, folder / "model.pt")
    with pytest.raises(ArtifactError, match="never unpickled"):
        load(folder / "model.pt")


def test_what_is_no_model_is_a_sentence(fitted, folder):
    with pytest.raises(ArtifactError, match="there is no such run"):
        load("nowhere")
    run = folder / "run"
    shutil.copytree(fitted, run)
    shutil.rmtree(run / "model")
    with pytest.raises(ArtifactError, match="no model yet"):
        load(run)
    assert load(fitted / "model").domain.name == "toy"


def test_conditions_need_as_many_rows_as_samples(fitted):
    with pytest.raises(ConfigError, match="one condition per sample"):
        load(fitted).sample(3, {"angle": torch.zeros(2, 1)})


@pytest.mark.parametrize("size", [2, 3, 8])
def test_ranks_split_whole_batches_and_leave_nothing_out(size):
    parts = [streaming._split(1001, 64, World(rank, size)) for rank in range(size)]
    assert [row for part in parts for row in part] == list(range(1001))
    assert all(part.start % 64 == 0 for part in parts)


def test_simulate_has_options(maquette, folder):
    assert maquette("simulate", "toy", "--n", 50, "--out", "x.h5", "radius=5").exit_code == 0
    assert np.linalg.norm(content("x.h5")[0], axis=1).mean() == pytest.approx(5, abs=0.1)
    result = maquette("simulate", "toy", "--n", 50, "--out", "y.h5", "radios=5")
    assert result.exit_code == 2
    assert 'Did you mean "radius"?' in result.stderr


def test_a_simulator_works_where_its_indices_are_and_only_where_it_can(maquette, folder, monkeypatch):
    import toy

    simulate, seen = toy.ToySimulator.simulate, []
    monkeypatch.setattr(
        toy.ToySimulator, "simulate", lambda self, index, seed: seen.append(index.device) or simulate(self, index, seed)
    )
    result = maquette("simulate", "toy", "--n", 5, "--out", "x.h5", "--device", "cuda")
    assert result.exit_code == 2
    assert "--device cuda: the simulator of toy runs on cpu only; leave --device out." in result.stderr
    assert maquette("simulate", "toy", "--n", 5, "--out", "x.h5").exit_code == 0
    monkeypatch.setattr(toy.ToySimulatorConfig, "devices", ("cuda", "meta"))
    if not torch.cuda.is_available():
        result = maquette("simulate", "toy", "--n", 5, "--out", "y.h5")
        assert result.exit_code == 2
        assert "PyTorch sees 0 GPUs here" in result.stderr
    assert maquette("simulate", "toy", "--n", 5, "--out", "y.h5", "--device", "cpu").exit_code == 2
    monkeypatch.setattr("maquette.pipelines.simulate.resolve_device", lambda name: torch.device("meta"))
    assert maquette("simulate", "toy", "--n", 5, "--out", "y.h5").exit_code == 1  # on "meta" there are no data to write
    assert list(dict.fromkeys(device.type for device in seen)) == ["cpu", "meta"]


def test_a_lower_precision_moves_samples_little_and_is_recorded(maquette, fitted, folder):
    weights = fitted / "model" / "weights.safetensors"
    before = weights.read_bytes()
    exact = load(fitted).sample(200, seed=7)
    assert torch.equal(load(fitted, precision="tf32").sample(200, seed=7), exact)  # a CPU has no such products
    near = load(fitted, precision="bfloat16").sample(200, seed=7)
    assert near.dtype == torch.float32
    assert 0 < (near - exact).abs().mean() < 0.05 * exact.std()
    for precision in ("float32", "bfloat16"):
        generate(fitted, n=200, seed=7, out=f"{precision}.h5", precision=precision)
    with h5py.File("float32.h5") as whole, h5py.File("bfloat16.h5") as half:
        assert (whole.attrs["precision"], half.attrs["precision"]) == ("float32", "bfloat16")
        np.testing.assert_array_equal(half["x"][:], near.numpy())
    assert weights.read_bytes() == before
    result = maquette("generate", fitted, "--n", 5, "--out", "x.h5", "--precision", "half")
    assert result.exit_code == 2
    assert 'precision: expected one of float32, tf32, bfloat16, found "half"' in result.stderr


def test_options_of_sampling_are_not_fixed_by_the_fit(maquette, data, folder):
    matching = "generator.family={kind: flow-matching, network: {kind: mlp, hidden: [8]}}"
    fit("toy", data=data, out="run", overrides=["tracking=none", "training.steps=2", matching])
    for file, words in (("few.h5", ["sampler.steps=2", "sampler.method=euler"]), ("usual.h5", [])):
        made = maquette("generate", "run", "--n", 20, "--out", file, *words)
        assert made.exit_code == 0, made.output
    with h5py.File("few.h5") as few, h5py.File("usual.h5") as usual:
        expected = "sampler.temperature=1.0, sampler.method=euler, sampler.steps=2, sampler.guidance=0.0"
        assert few.attrs["sampler"] == expected
        assert "sampler.steps=10" in usual.attrs["sampler"]
        assert not np.array_equal(few["x"], usual["x"])
        model = load("run").with_sampler(["sampler.steps=2", "sampler.method=euler"])
        np.testing.assert_allclose(model.sample(20).numpy(), few["x"], atol=1e-5)
    result = maquette("generate", "run", "--n", 5, "--out", "x.h5", "sampler.stepps=5")
    assert result.exit_code == 2
    assert 'sampler.stepps: there is no such option of sampling. Did you mean "sampler.steps"?' in result.stderr
