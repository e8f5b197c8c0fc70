"""What `validate` writes, and the page that is made of it."""

import json
import re
import shutil

import pytest
from maquette.core.errors import ArtifactError, ConfigError
from maquette.core.statistics.estimate import Estimate
from maquette.domains.plugin import Evaluation
from maquette.pipelines.fit import fit
from maquette.pipelines.generate import generate
from maquette.pipelines.report import report
from maquette.pipelines.simulate import simulate
from maquette.pipelines.validate import metrics_json, validate


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """Points on a circle that is too large."""
    file = tmp_path_factory.mktemp("broken") / "broken.h5"
    simulate("toy", n=500, seed=9, out=file, overrides=["radius=1.3"])
    return file


def test_metrics_json_has_the_schema_that_scripts_read(maquette, data, broken, folder):
    result = maquette("validate", "toy", "--reference", data, "--generated", broken, "--out", "v", "--no-tracking")
    assert result.exit_code == 0, result.output
    metrics = json.loads((folder / "v" / "metrics.json").read_text())
    assert set(metrics) == {"schema", "domain", "n_reference", "n_generated", "metrics"}
    assert (metrics["schema"], metrics["domain"]) == (1, "toy")
    assert (metrics["n_reference"], metrics["n_generated"]) == (900, 500)
    for one in metrics["metrics"].values():
        assert set(one) == {"value", "stderr", "floor", "unit", "better", "definition"}
    assert metrics["metrics"]["radius"]["value"] == pytest.approx(0.3, abs=0.02)
    assert metrics["metrics"]["depth"]["value"] is None
    assert "verdict: distinguishable by radius" in result.stdout
    assert (folder / "v" / "figures" / "radius.png").read_bytes().startswith(b"\x89PNG")


def test_alike_data_are_not_told_apart(data, folder):
    simulate("toy", n=500, seed=12, out="more.h5")
    done = validate("toy", reference=data, generated="more.h5", out="v", track=False)
    assert done.evaluation.verdict == "indistinguishable at n = 500"
    assert 'class="verdict good"' in (folder / "v" / "report.html").read_text()


def test_rows_are_chosen(data, folder):
    options = {"reference": data, "generated": data, "out": "v", "track": False}
    validate("toy", reference_rows=":300", generated_rows="-100:", **options)
    metrics = json.loads((folder / "v" / "metrics.json").read_text())
    assert (metrics["n_reference"], metrics["n_generated"]) == (300, 100)
    with pytest.raises(ConfigError, match="the file has 900 rows"):
        validate("toy", generated_rows="800:1000", **options)


@pytest.fixture
def generated(fitted, folder):
    """A file of the run's own model, next to a copy of the run."""
    shutil.copytree(fitted, folder / "run")
    generate(folder / "run", n=50, seed=4, out="gen.h5")
    return folder / "gen.h5"


def copied(folder, **options) -> dict:
    """The toy's check whether training data were copied: `value`, and `definition`, which says what it looked at."""
    validate("toy", out=folder / "v", track=False, **options)
    return json.loads((folder / "v" / "metrics.json").read_text())["metrics"]["copied"]


def test_training_data_are_found_through_the_run(data, generated, folder):
    words = {"reference": data, "generated": generated}
    found = copied(folder, **words, run="run")
    assert found["definition"] == "share found among 800 training points, the first of them row 0"
    assert found["value"] == 0
    page = (folder / "v" / "report.html").read_text()
    assert f"{data}, rows 0:800" in page
    assert f"--training {data} --training-rows 0:800" in page
    validate("toy", out="run/validation", track=False, **words)  # the folder lies in the run, the file names its model
    found = json.loads((folder / "run" / "validation" / "metrics.json").read_text())["metrics"]["copied"]
    assert "800 training points" in found["definition"]


def test_training_rows_are_those_that_the_fit_was_given(data, folder):
    fit("toy", data=data, out="part", overrides=["tracking=none", "data.rows=-500:700", "data.validation=50"])
    generate("part", n=50, seed=4, out="part.h5")
    found = copied(folder, reference=data, generated="part.h5", run="part")
    assert found["definition"] == "share found among 250 training points, the first of them row 400"
    found = copied(folder, reference=data, generated=data, generated_rows="400:600", run="part")
    assert found["value"] == 1  # a file of others; the user says that this run made it


def test_training_data_that_cannot_be_had_are_not_measurable(data, broken, fitted, generated, folder):
    def why(**options) -> str:
        found = copied(folder, reference=data, **options)
        assert found["value"] is None
        return found["definition"]

    assert "the run of the generated file is not known; name it with --run" in why(generated=generated)
    shutil.copy(broken, folder / "run" / "foreign.h5")  # lies in the run, but who made it?
    assert "the generated file does not say which model made it" in why(generated=folder / "run" / "foreign.h5")
    fit("toy", data=data, out="other", overrides=["tracking=none", "seed=5"])
    assert "the generated file is not by the model of other" in why(generated=generated, run="other")
    record = json.loads((folder / "run" / "run.json").read_text())
    for change, sentence in (
        ({"data": {"file": "gone.h5"}}, "gone.h5: expected a toy file"),
        (
            {"data": {"file": str(broken)}},
            "no longer holds what run was fitted to; name the training data with --training FILE",
        ),
        ({"domain": "other"}, 'run: is a run of the domain "other", not of "toy"; name the training data'),
    ):
        (folder / "run" / "run.json").write_text(
            json.dumps(record | change | {"data": record["data"] | change.get("data", {})})
        )
        assert sentence in why(generated=generated, run="run")


def test_training_data_can_be_named(maquette, data, broken, generated, folder):
    shutil.copy(data, folder / "moved.h5")
    words = {"reference": data, "generated": generated, "run": "run"}
    assert "800 training points" in copied(folder, **words, training="moved.h5")["definition"]  # the rows of the run
    assert "500 training points" in copied(folder, **words, training=broken)["definition"]
    found = copied(folder, **words, training="moved.h5", training_rows="10:90")
    assert found["definition"] == "share found among 80 training points, the first of them row 10"
    words = ["validate", "toy", "--reference", data, "--generated", generated, "--out", "w", "--no-tracking"]
    result = maquette(*words, "--training-rows", "0:5")
    assert result.exit_code == 2
    assert "--training-rows chooses rows of the file that --training names" in result.stderr
    assert maquette(*words, "--training", data, "--training-rows", "0:5").exit_code == 0
    assert "rows 0:5" in (folder / "w" / "report.html").read_text()


def test_infinite_and_missing_figures_are_null():
    estimate = Estimate(float("inf"), float("nan"), 0.0, 5, "MeV", "lower", "x")
    metrics = metrics_json("toy", Evaluation({"x": estimate}, {}, [], "v"), 5, 5)
    assert json.loads(json.dumps(metrics, allow_nan=False))["metrics"]["x"]["value"] is None


def test_a_file_in_the_way_is_a_sentence(data, folder):
    (folder / "v").touch()
    with pytest.raises(ConfigError, match="there is a file of this name"):
        validate("toy", reference=data, generated=data, out="v", track=False)


@pytest.fixture
def validated(fitted, data, broken, folder):
    """A copy of the run, validated."""
    run = folder / "run<b>"
    shutil.copytree(fitted, run)
    validate("toy", reference=data, generated=broken, out=run / "validation", track=False)
    return run


def test_the_report_holds_all_and_needs_nothing_else(validated):
    page = report(validated).read_text()
    assert not re.search(r"(?:src|href|url\()\s*[=(]?\s*[\"']?(?:https?:|//|file:)", page)
    assert "<script" not in page
    assert "<link" not in page
    assert len(re.findall(r'<img src="data:image/png;base64,', page)) == 2  # one metric figure, the losses
    position = [page.index(part) for part in ("Distinguishable by radius", ">Metrics<", ">Figures<", ">Provenance<")]
    assert position == sorted(position)
    for part in ("Archimedes", "Not comparable.", "toy-line", "not judged", "maquette fit toy --data"):
        assert part in page


def test_names_in_the_report_are_escaped(validated):
    page = report(validated).read_text()
    assert "&lt;script&gt;alert" in page
    assert "<title>run&lt;b&gt;" in page


def test_the_report_of_a_validation_knows_the_run_around_it(validated):
    page = (validated / "validation" / "report.html").read_text()
    assert "Loss curves" in page
    assert "training data SHA-256" in page


def test_a_report_can_be_built_again(validated):
    before = report(validated).read_text()
    (validated / "report.html").unlink()
    shutil.rmtree(validated / "figures")
    assert report(validated).read_text() == before


def test_a_damaged_run_is_a_sentence(validated):
    (validated / "validation" / "evaluation.json").write_text("{")
    with pytest.raises(ArtifactError, match="not readable as JSON"):
        report(validated)


def test_the_demo_goes_the_whole_way(maquette, data, folder, monkeypatch):
    monkeypatch.setenv("TOY_SAMPLE", str(data))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "ftp://nowhere")  # a store that does not answer costs a warning
    result = maquette("demo", "toy")
    assert result.exit_code == 0, result.output
    assert "warning: MLflow" in result.stderr
    page = (folder / "demo" / "run" / "report.html").read_text()
    assert "n = 300" in page or "istinguishable by radius" in page
    assert json.loads((folder / "demo" / "run" / "run.json").read_text())["data"]["training_rows"] == 600
    assert maquette("demo", "toy").exit_code == 0
