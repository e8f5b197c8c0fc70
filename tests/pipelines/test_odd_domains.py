"""Larger boxes, slices and volumes, several data files, and fits without a gradient, through the verbs.

`test_ranks.py` fits the same domains on two processes, `test_kills.py` kills those that keep state between steps.
"""

import json

import h5py
import maquette
import pytest
import torch
from maquette.core.errors import ConfigError
from maquette.core.spaces import Field
from maquette.domains import domains
from maquette.domains.generator import DensityGenerator
from maquette.pipelines.fit import fit
from maquette.pipelines.generate import generate
from maquette.pipelines.simulate import simulate
from maquette.pipelines.validate import validate


def judged(domain, reference, generated, **options):
    return validate(domain, reference=reference, generated=generated, out="v", track=False, **options).evaluation


# --- periodic fields, given a vector and a field -----------------------------------------------------------


def test_boxes_are_sampled_larger_than_they_were_in_training(odd_runs, folder, maquette):
    run = odd_runs / "periodic"
    simulate("periodic", n=30, seed=5, out="large.h5", overrides=["grid=[8,4,4]"])
    words = ["generate", run, "--conditions-from", "large.h5", "--out", "new.h5", "--size", "8,4,4"]
    assert maquette(*words).exit_code == 0
    with h5py.File("new.h5") as new, h5py.File("large.h5") as large:
        assert new["x"].shape == (30, 1, 8, 4, 4)
        assert (new["density"][:] == large["density"][:]).all()
        assert new.attrs["size"] == "8,4,4"
    judged("periodic", "large.h5", "new.h5", run=run)
    (line,) = (line for line in (folder / "v" / "report.html").read_text().splitlines() if "maquette generate" in line)
    assert "--size 8,4,4" in line


def test_on_the_grid_of_training_the_samples_are_those_of_the_model(odd_runs, odd_data):
    model, data = maquette.load(odd_runs / "periodic"), domains.get("periodic").open(odd_data["periodic"], {})
    condition = data.fetch(torch.arange(5)).condition
    x = model.sample(5, condition)
    assert torch.equal(model.with_size((4, 4, 4)).sample(5, condition), x)
    shifted = {**condition, "density": condition["density"].roll(1, 2)}
    assert not torch.equal(model.sample(5, shifted), x)  # the field is not ignored, nor the vector
    assert not torch.equal(model.sample(5, {**condition, "amplitude": condition["amplitude"] + 1}), x)


@pytest.mark.parametrize(
    ("domain", "size", "sentence"),
    [
        ("periodic", "8,4", "expected a side of at least one for each axis of [4, 4, 4]"),
        ("periodic", "8x4x4", "separated by commas, such as 128,64,64"),
        ("periodic", "8,4,4", "expected samples of shape [1, 8, 4, 4], found [1, 4, 4, 4]"),
        ("slices", "6,4,4", "slices are (2, 2); choose their number alone"),
        ("mixture", "6", "expected samples that are fields on one grid, found a vector"),
    ],
)
def test_sizes_that_cannot_be_had_are_refused(odd_runs, odd_data, folder, maquette, domain, size, sentence):
    given = ["--conditions-from", odd_data[domain]] if domain == "periodic" else ["--n", 5]
    result = maquette("generate", odd_runs / domain, *given, "--out", "x.h5", "--size", size)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert not list(folder.glob("x.h5*"))


def test_a_network_of_one_grid_is_refused_by_name(odd_data, folder):
    network = "generator.family.network={kind: residual, width: 4, depth: 1}"
    simulate("slices", n=60, out="s.h5")
    words = ["generator.family={kind: flow-matching}", network, "training.steps=1"]
    fit("slices", data="s.h5", out="run", overrides=words)
    with pytest.raises(ConfigError, match=r"the weights of Residual.* belong to one grid"):
        generate("run", n=2, out="x.h5", size=(4, 4))


# --- slices in training, volumes in the file ------------------------------------------------------------------


def test_slices_are_trained_on_and_volumes_are_judged(odd_runs, odd_data, folder):
    run = odd_runs / "slices"
    generator = maquette.load(run).generator
    assert generator.space == Field(channels=1, grid=(3, 2, 2), periodic=(True, True, True))
    assert generator.codec.space.grid == (2, 2)
    assert torch.equal(generator.decoder.unit, generator.codec.unit)
    generate(run, n=400, out="volumes.h5")
    simulate("slices", n=400, seed=1, out="reference.h5", overrides=["depth=3"])
    found = judged("slices", "reference.h5", "volumes.h5", run=run)
    assert found.verdict == "indistinguishable at n = 400"
    assert "expected samples of shape [1, 3, 2, 2], found [1, 2, 2]" in found.estimates["copied"].definition
    generate(run, n=5, out="deeper.h5", size=(6, 2, 2))
    with h5py.File("deeper.h5") as stream:
        assert stream["x"].shape == (5, 1, 6, 2, 2)


# --- several data files ---------------------------------------------------------------------------------------


def test_photos_become_paintings(odd_runs, odd_data, folder):
    run, files = odd_runs / "translation", odd_data["translation"]
    generate(run, conditions_from=files["photos"], out="painted.h5")
    codec = maquette.load(run).generator.codec
    assert codec.paintings == pytest.approx(10 * float(codec.photos), rel=0.3)
    found = judged("translation", files["paintings"], "painted.h5", run=run)
    assert found.estimates["copied"].definition.startswith("share found among 45 training points")
    record = json.loads((run / "run.json").read_text())
    assert [(each["name"], each["rows"]) for each in (record["data"], *record["other_data"])] == [
        ("photos", 45),
        ("paintings", 37),
    ]
    page = (folder / "v" / "report.html").read_text()
    assert f"--data photos={files['photos']} --data paintings={files['paintings']}" in page
    assert page.count("SHA-256 of content (all rows)") >= 2


def test_each_file_may_have_rows_of_its_own(odd_data, folder):
    words = ["training.steps=2", "data.validation=5", "data.sources.paintings.rows=0:20"]
    fit("translation", data=odd_data["translation"], out="run", overrides=words)
    record = json.loads((folder / "run" / "run.json").read_text())
    assert (record["data"]["training_rows"], record["other_data"][0]["training_rows"]) == (40, 15)
    rows = [json.loads(line) for line in (folder / "run" / "losses.jsonl").read_text().splitlines()]
    assert {"held_out/fit/critic", "held_out/fit/generators"} <= set(rows[-1])
    assert fit("translation", data=odd_data["translation"], out="run", resume=True).already


PAIR = ["photos=PHOTOS", "paintings=PAINTINGS"]


@pytest.mark.parametrize(
    ("data", "words", "sentence"),
    [
        (["PHOTOS"], [], 'the codec needs "paintings" beside the leading data, as --data paintings=FILE'),
        (["photos=PHOTOS", "photos=PAINTINGS"], [], 'the name "photos" is given twice'),
        (["photos=PHOTOS", "PAINTINGS"], [], "several data files are given by their names, as --data NAME=FILE"),
        ([*PAIR, "songs=PHOTOS"], [], "The source \"songs\" is read by no player; they read ['paintings', 'photos']"),
        (
            PAIR,
            ["data.sources.painting.rows=0:9"],
            'data.sources.painting: there are no such data. Did you mean "paintings"',
        ),
        (PAIR, ["data.validation=5", "data.sources.photos.validation=0"], "but of paintings some are"),
        (PAIR, ["data.rows=0:40"], "rows 0:40 were asked for, but the file has 37 rows"),
    ],
)
def test_files_that_do_not_suit_are_refused(odd_data, folder, maquette, data, words, sentence):
    files = odd_data["translation"]
    named = [
        word.replace("PHOTOS", str(files["photos"])).replace("PAINTINGS", str(files["paintings"])) for word in data
    ]
    result = maquette("fit", "translation", *(w for word in named for w in ("--data", word)), "--out", "run", *words)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert not (folder / "run").exists()


def test_a_run_goes_on_with_the_files_it_began_with(odd_runs, odd_data):
    photos, paintings = odd_data["translation"].values()
    for data, sentence in (
        ({"paintings": paintings, "photos": photos}, r"\(photos and paintings, now paintings and photos\)"),
        ({"photos": photos, "paintings": photos}, r"other data \(paintings: SHA-256"),
        (photos, r"\(photos and paintings, now one file without a name\)"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            fit("translation", data=data, out=odd_runs / "translation", resume=True)


# --- a closed form ----------------------------------------------------------------------------------------------


def test_a_mixture_is_fitted_without_a_gradient_and_has_a_density(odd_runs, odd_data, folder):
    run = odd_runs / "mixture"
    generator = maquette.load(run).generator
    assert isinstance(generator, DensityGenerator)
    assert not list(generator.parameters())
    x = torch.linspace(-8, 8, 2001)[:, None]
    assert float(generator.log_prob(x).exp().sum() * 16 / 2000) == pytest.approx(1, abs=1e-3)
    assert (generator.family.mixture.mean * generator.codec.unit).tolist() == pytest.approx([-2, 3], abs=0.2)
    generate(run, n=400, out="new.h5")
    simulate("mixture", n=400, seed=1, out="reference.h5")
    assert judged("mixture", "reference.h5", "new.h5", run=run).verdict == "indistinguishable at n = 400"
