"""What `validate` writes, and what it refuses."""

import json

import pytest
from maquette.core.errors import ConfigError
from maquette.core.statistics.estimate import Estimate
from maquette.domains.plugin import Evaluation
from maquette.pipelines.arguments import DataSide
from maquette.pipelines.simulate import simulate
from maquette.pipelines.validate import metrics_json, validate


def test_metrics_json_has_the_schema_that_scripts_read(maquette, data, broken, folder):
    result = maquette("validate", "toy", "--reference", data, "--generated", broken, "--out", "v", "--no-tracking")
    assert result.exit_code == 0, result.output
    metrics = json.loads((folder / "v" / "metrics.json").read_text())
    assert set(metrics) == {"schema", "domain", "n_reference", "n_generated", "metrics"}
    assert (metrics["schema"], metrics["domain"]) == (1, "toy")
    assert (metrics["n_reference"], metrics["n_generated"]) == (900, 500)
    for one in metrics["metrics"].values():
        assert set(one) == {"value", "stderr", "floor", "unit", "better", "definition", "against", "baseline"}
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
    options = {"out": "v", "track": False}
    validate("toy", reference=DataSide(data, ":300"), generated=DataSide(data, "-100:"), **options)
    metrics = json.loads((folder / "v" / "metrics.json").read_text())
    assert (metrics["n_reference"], metrics["n_generated"]) == (300, 100)
    with pytest.raises(ConfigError, match="the file has 900 rows"):
        validate("toy", reference=data, generated=DataSide(data, "800:1000"), **options)


def test_infinite_and_missing_figures_are_null():
    estimate = Estimate(float("inf"), float("nan"), 0.0, 5, "MeV", "lower", "x")
    metrics = metrics_json("toy", Evaluation({"x": estimate}, {}, [], "v"), 5, 5)
    assert json.loads(json.dumps(metrics, allow_nan=False))["metrics"]["x"]["value"] is None


def test_a_file_in_the_way_is_a_sentence(data, folder):
    (folder / "v").touch()
    with pytest.raises(ConfigError, match="there is a file of this name"):
        validate("toy", reference=data, generated=data, out="v", track=False)


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(maquette, data, folder, monkeypatch):
    import toy

    (folder / "file").touch()
    monkeypatch.setattr(toy.Toy, "evaluate", lambda *_, **__: pytest.fail("worked first"))
    result = maquette("validate", "toy", "--reference", data, "--generated", data, "--out", "file/v", "--no-tracking")
    assert result.exit_code == 1
    assert "file/v: Not a directory." in result.stderr
