"""What `validate` writes, and the page that is made of it."""

import json
import re
import shutil

import pytest
from maquette.core.errors import ArtifactError, ConfigError
from maquette.core.statistics.estimate import Estimate
from maquette.domains.plugin import Evaluation
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
