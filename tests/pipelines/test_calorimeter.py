"""The whole path on real showers with the smoke recipe, and every recipe for a few steps."""

import json
import os
import subprocess
import sys

import pytest
import torch
from maquette.core.errors import ConfigError
from maquette.core.noise import KeyedNoise
from maquette.data_specs.calorimeter.geometry import Geometry, PolarLayer
from maquette.data_specs.calorimeter.geometry_json import geometry_to_json
from maquette.data_specs.errors import DataError
from maquette.domains import domains
from maquette.domains.calorimeter.simulator.gflash import GflashConfig
from maquette.pipelines.arguments import DataSide
from maquette.pipelines.fit import fit
from maquette.pipelines.generate import generate
from maquette.pipelines.load import load
from maquette.pipelines.reporting import latency
from maquette.pipelines.run.config import resolve
from maquette.pipelines.simulate import simulate
from maquette.pipelines.validate import validate

CALORIMETER = domains.get("calorimeter")
SAMPLE = CALORIMETER.sample_path()
PROMISED = {
    "auc_low",
    "auc_high",
    "separation_layer_energy",
    "separation_total_energy",
    "separation_sparsity",
    "fpd",
    "kpd",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calorimeter") / "smoke"
    fit("calorimeter", data=SAMPLE, out=folder, recipe="smoke", overrides=["tracking=none"])
    return folder


SIDES = {"--reference": str(SAMPLE), "--reference-rows": "4000:4800", "--generated": "generated.h5"}


@pytest.fixture(scope="module")
def validation(run):
    """The folder of the validation of 400 generated showers."""
    file, out = run.parent / SIDES["--generated"], run / "validation"
    generate(run, seed=3, out=file, conditions_from=DataSide(SAMPLE, "4000:4400"))
    reference = DataSide(SAMPLE, SIDES["--reference-rows"])
    validate("calorimeter", reference=reference, generated=file, out=out, effort="smoke", track=False)
    return out


def test_real_showers_in_a_report_out(run, validation):
    file, out = run.parent / SIDES["--generated"], validation
    assert CALORIMETER.check(file, {}, lambda *_: None)
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["schema"], metrics["domain"]) == (1, "calorimeter")
    assert (metrics["n_reference"], metrics["n_generated"]) == (800, 400)
    assert set(metrics["metrics"]) >= PROMISED
    assert "of the 1,000 training showers" in metrics["metrics"]["memorisation"]["definition"]
    page = (out / "report.html").read_text()
    assert page.index("istinguishable") < page.index("auc_low")
    assert "Geant4 11.4 with a reduced electromagnetic physics list" in page  # what it is held against in speed
    assert 'src="http' not in page


def test_another_geometry_of_as_many_voxels_is_refused(tmp_path):
    other = Geometry("mine", (PolarLayer(0, tuple(range(43)), 12),))
    sample = CALORIMETER.open(SAMPLE, {})
    batch, mine = sample.fetch(torch.arange(60)), tmp_path / "mine.h5"
    writer = CALORIMETER.writer(mine, {"geometry": geometry_to_json(other)}, {}, 60)
    writer.append(batch)
    writer.close()
    assert CALORIMETER.open(mine, {}).geometry.n_voxels == sample.geometry.n_voxels
    words = {"reference": SAMPLE, "out": tmp_path / "v", "track": False}
    with pytest.raises(DataError, match=r"mine.h5: its showers are of the geometry mine .* not those of calogan"):
        validate("calorimeter", generated=mine, **words)
    with pytest.raises(DataError, match=r"mine.h5: its showers are of the geometry mine .* not those of calogan"):
        validate("calorimeter", generated=SAMPLE, training=mine, **words)
    assert not (tmp_path / "v").exists()


def test_too_few_showers_are_bad_input(maquette, folder):
    words = ["--reference", SAMPLE, "--reference-rows", "0:30", "--generated", SAMPLE, "--no-tracking", "--out", "v"]
    result = maquette("validate", "calorimeter", *words)
    assert result.exit_code == 2
    assert "Expected at least 40 reference and 20 generated samples" in result.stderr


def test_two_processes_validate_as_one_does(run, validation):
    """They share the reading and the classifiers; every figure is that of one process."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "maquette"]
    words = ["validate", "calorimeter", *(word for side in SIDES.items() for word in side), "--out", "two"]
    done = subprocess.run(
        [*launch, *words, "--training", SAMPLE, "--training-rows", "0:1000", "--effort", "smoke", "--no-tracking"],
        cwd=run.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("verdict:") == 1
    one, two = (json.loads((out / "metrics.json").read_text()) for out in (validation, run.parent / "two"))
    assert {k: (v, two["metrics"].get(k)) for k, v in one["metrics"].items() if v != two["metrics"].get(k)} == {}
    assert one == two


def test_a_shower_depends_on_seed_and_index_alone(run):
    model = load(run)
    energy = torch.linspace(1100, 9000, 64)[:, None]
    whole = model.sample(64, {"energy": energy}, seed=5)
    pieces = model.sample(64, {"energy": energy}, seed=5, batch_size=7)
    alone = model.sample(1, {"energy": energy[40:41]}, seed=5, first=40)
    layers = model.generator.codec.padding
    for expected, found, scale in ((whole, pieces, energy), (whole[40:41], alone, energy[40:41])):
        flipped = (expected > 0) != (found > 0)
        assert flipped.float().mean() <= 1e-4
        difference = ((expected - found).abs() / scale)[~flipped.any(1)]
        assert difference.max() < 1e-5
        sums = (layers.split(expected).sum(2) - layers.split(found).sum(2)).abs() / scale
        assert sums.max() < 1e-5
    assert not torch.equal(whole, model.sample(64, {"energy": energy}, seed=6))


def test_a_likelihood_bound_comes_with_flows(run):
    generator = load(run).generator
    batch = CALORIMETER.open(SAMPLE, {}).fetch(torch.arange(50))
    bound = generator.log_bound(batch.x, batch.condition, noise=KeyedNoise(1, batch.index))
    assert bound.shape == (50,)
    assert bound.isfinite().all()
    shuffled = batch.x[:, torch.randperm(504, generator=torch.Generator().manual_seed(1))]
    assert generator.log_bound(shuffled, batch.condition, noise=KeyedNoise(1, batch.index)).mean() < bound.mean()


@pytest.mark.parametrize("name", sorted(CALORIMETER.recipes()))
def test_every_recipe_runs_for_two_steps(name, tmp_path, monkeypatch):
    """Also those for a GPU: their networks are built in full, and fitted to a few showers."""
    monkeypatch.setattr(latency, "_SECONDS", 0.0)  # networks for a GPU draw for long; the smoke recipe's are timed
    data = SAMPLE
    if "ds2" in name:
        data = tmp_path / "ds2.h5"
        simulate("calorimeter", n=24, seed=1, out=data, overrides=["geometry=ds2"])
    stages = resolve(CALORIMETER, name).training.stages
    words = ["data.rows=0:24", "training.steps=2", "training.batch_size=8", "training.parallel.compile=false"]
    words += [
        f"training.stages.{stage}.{key}={value}" for stage in stages for key, value in (("steps", 2), ("batch_size", 8))
    ]
    words += ["tracking=none"]
    done = fit("calorimeter", data=data, out=tmp_path / "run", recipe=name, overrides=words)
    showers = load(done.run.folder).sample(2, seed=1)
    assert showers.isfinite().all()
    assert (showers.sum(1) > 0).all()


def test_a_recipe_for_another_geometry_names_those_that_fit(tmp_path):
    simulate("calorimeter", n=24, seed=1, out=tmp_path / "ds2.h5", overrides=["geometry=ds2"])
    sentence = r"The recipe gpu is not made for such data \(.*\); these are: demo, gan, gpu-ds2, quick, smoke\."
    with pytest.raises(ConfigError, match=sentence):
        fit("calorimeter", data=tmp_path / "ds2.h5", out=tmp_path / "run", recipe="gpu", overrides=["tracking=none"])
    assert not (tmp_path / "run").exists()


def test_the_simulator_is_labelled_parametrised(tmp_path):
    file = tmp_path / "fast.h5"
    simulate("calorimeter", n=50, seed=2, out=file, overrides=["particle=gamma"])
    data = CALORIMETER.open(file, {})
    assert "parametrised" in dict(data.summary())["engine"]
    assert GflashConfig().geometry == data.geometry.name == "calogan"
