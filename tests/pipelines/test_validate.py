"""What `validate` writes, and the page that is made of it."""

import html
import json
import re
import shlex
import shutil

import pytest
from maquette.core.errors import ArtifactError, ConfigError
from maquette.core.statistics.estimate import Estimate
from maquette.domains.plugin import Evaluation
from maquette.pipelines.arguments import DataSide
from maquette.pipelines.fit import fit
from maquette.pipelines.generate import generate
from maquette.pipelines.report import report
from maquette.pipelines.simulate import simulate
from maquette.pipelines.validate import metrics_json, metrics_table, validate


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
    options = {"out": "v", "track": False}
    validate("toy", reference=DataSide(data, ":300"), generated=DataSide(data, "-100:"), **options)
    metrics = json.loads((folder / "v" / "metrics.json").read_text())
    assert (metrics["n_reference"], metrics["n_generated"]) == (300, 100)
    with pytest.raises(ConfigError, match="the file has 900 rows"):
        validate("toy", reference=data, generated=DataSide(data, "800:1000"), **options)


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
    found = copied(folder, reference=data, generated=DataSide(data, "400:600"), run="part")
    assert found["value"] == 1  # a file of others; the user says that this run made it


def test_training_data_that_cannot_be_had_are_not_measurable(data, broken, fitted, generated, folder):
    def why(**options) -> str:
        found = copied(folder, reference=data, **options)
        assert found["value"] is None
        return found["definition"]

    assert "the run of the generated file is not known; name the run with --run" in why(generated=generated)
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
    found = copied(folder, **words, training=DataSide("moved.h5", "10:90"))
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
    validate("toy", reference=data, generated=broken, out=run / "validation", run=run, track=False)
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
    assert "training data SHA-256 of content" in page


def test_a_report_can_be_built_again(validated):
    before = report(validated).read_text()
    (validated / "report.html").unlink()
    shutil.rmtree(validated / "figures")
    assert report(validated).read_text() == before


def test_a_file_is_not_credited_to_a_run_because_of_where_it_lies(data, broken, generated, folder):
    run = folder / "run"
    validate("toy", reference=data, generated=generated, out=run / "validation", track=False)
    ours = report(run).read_text()
    assert "Not validated yet" not in ours
    assert str(generated) in ours
    theirs = validate("toy", reference=data, generated=broken, out=run / "simulated", track=False)
    assert theirs.source_run is None
    page = (run / "simulated" / "report.html").read_text()
    assert "<title>simulated" in page
    assert "Loss curves" not in page
    assert report(run).read_text() == ours

    fit("toy", data=data, out=run / "other", overrides=["tracking=none", "seed=5"])
    inner = validate("toy", reference=data, generated=generated, out=run / "other" / "validation", track=False)
    assert inner.source_run is not None
    assert inner.source_run.folder == run  # of the two around the folder, the one whose model it was
    assert "Not validated yet" in report(run / "other").read_text()


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(maquette, data, folder, monkeypatch):
    import toy

    (folder / "file").touch()
    monkeypatch.setattr(toy.Toy, "evaluate", lambda *_, **__: pytest.fail("worked first"))
    result = maquette("validate", "toy", "--reference", data, "--generated", data, "--out", "file/v", "--no-tracking")
    assert result.exit_code == 1
    assert "file/v: Not a directory." in result.stderr


def test_a_damaged_run_is_a_sentence(validated):
    (validated / "validation" / "evaluation.json").write_text("{")
    with pytest.raises(ArtifactError, match="not readable as JSON"):
        report(validated)


def _lines(folder) -> list[list[str]]:
    """The command lines of a report, as words."""
    text = html.unescape(re.search(r"How to reproduce</h2>\s*<pre>(.*?)</pre>", folder.read_text(), re.DOTALL)[1])
    return [shlex.split(line) for line in text.splitlines()]


@pytest.mark.parametrize("how", ["training", "rows", "words"])
def test_the_lines_to_reproduce_make_the_same_file_again(how, maquette, data, fitted, folder):
    shutil.copytree(fitted, folder / "run")
    words = {
        "training": {"n": 50},
        "rows": {"conditions_from": DataSide(data, "800:850")},
        "words": {"n": 50, "conditions": {"angle": "0.5"}},
    }
    generate(folder / "run", seed=4, out="gen.h5", **words[how])
    sides = {"reference": DataSide(data, "800:850"), "generated": DataSide("gen.h5", "10:50")}
    validate("toy", out="v", run="run", options={"geometry": "flat"}, track=False, **sides)
    fitting, generating, validating = _lines(folder / "v" / "report.html")
    assert fitting[:3] == ["maquette", "fit", "toy"]
    assert generating[:3] == ["maquette", "generate", "run"]
    assert maquette(*generating[1:]).exit_code == 0
    assert (folder / "gen-again.h5").read_bytes() == (folder / "gen.h5").read_bytes()
    assert " ".join(validating).count("--geometry flat") == 1
    assert maquette(*validating[1:], "--no-tracking").exit_code == 0
    before, after = (json.loads((folder / one / "metrics.json").read_text()) for one in ("v", "validation-again"))
    assert before == after


def test_a_file_of_others_has_no_line_that_generates_it(data, fitted, broken, folder):
    validate("toy", out="v", reference=data, generated=broken, run=fitted, track=False)
    assert [line[1] for line in _lines(folder / "v" / "report.html")] == ["fit", "validate"]


def test_a_remark_is_beside_the_value_in_every_table(validated):
    estimate = Estimate(1.0, 0.1, 0.5, 5, "", "lower", "x.", 0.1, remark="not comparable")
    evaluation = Evaluation({"fpd": estimate}, {}, [], "v")
    assert metrics_table(evaluation)[0][1] == "1.00 ± 0.10 (not comparable)"
    file = validated / "validation" / "evaluation.json"
    content = json.loads(file.read_text())
    content["estimates"]["radius"]["remark"] = "not comparable"
    file.write_text(json.dumps(content))
    assert report(validated).read_text().count("(not comparable)</td>") == 1


def test_a_digest_says_what_it_is_of(validated):
    page = report(validated).read_text()
    for label in ("training data SHA-256 of content (all rows)", "reference SHA-256 of content (all rows)"):
        assert label in page
    assert json.loads((validated / "run.json").read_text())["data"]["sha256_of"] == "content of all rows"
