"""The training data of a generated file: found through its run, or named by the user."""

import json
import shutil

from maquette.pipelines.arguments import DataSide
from maquette.pipelines.fit import fit
from maquette.pipelines.generate import generate
from maquette.pipelines.report import report
from maquette.pipelines.validate import validate


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
