"""The demo goes the whole way once; repeated, it only prints the result."""

import json
import shutil
from importlib import import_module
from types import SimpleNamespace

import pytest
from maquette.core.errors import ConfigError
from maquette.pipelines.demo import demo

MODULE = import_module("maquette.pipelines.demo")


@pytest.fixture
def shown(maquette, data, folder, monkeypatch):
    """Run the demo's command where no MLflow store answers, which costs a warning."""
    monkeypatch.setenv("TOY_SAMPLE", str(data))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "ftp://nowhere")
    return lambda *words: maquette("demo", "toy", *words)


def test_the_demo_goes_the_whole_way_once(shown, folder, monkeypatch):
    first = shown()
    assert first.exit_code == 0, first.output
    assert "warning: MLflow" in first.stderr
    assert "MLflow:" not in first.stdout
    page = folder / "demo" / "run" / "report.html"
    assert json.loads((folder / "demo" / "run" / "run.json").read_text())["data"]["training_rows"] == 600
    assert "Not validated yet" not in page.read_text()
    (verdict,) = (line for line in first.stdout.splitlines() if line.startswith("verdict: "))

    validate, calls = MODULE.validate, []
    monkeypatch.setattr(MODULE, "validate", lambda *a, **k: (calls.append(1), validate(*a, **k))[1])
    made = [folder / "demo" / name for name in ("generated.h5", "run/run.json", "run/validation/evaluation.json")]
    before = [file.stat().st_mtime_ns for file in made]
    again = shown()
    assert again.exit_code == 0
    assert verdict in again.stdout
    assert calls == []
    assert again.stderr.startswith("warning: MLflow cannot be reached")  # it was tried again, for what it lacks
    assert len(again.stderr.splitlines()) == 1
    assert [file.stat().st_mtime_ns for file in made] == before

    evaluation = folder / "demo" / "run" / "validation" / "evaluation.json"
    content = json.loads(evaluation.read_text())
    content["inputs"]["generated"]["sha256"] = "of other samples"
    evaluation.write_text(json.dumps(content))
    assert shown().exit_code == 0
    assert calls == [1]


def test_what_is_in_the_way_is_refused_before_anything_is_done(shown, fitted, folder, monkeypatch):
    monkeypatch.setattr(MODULE, "fit", lambda *_, **__: pytest.fail("worked first"))
    (folder / "file").touch()
    shutil.copytree(fitted, folder / "runs" / "a")
    shutil.copytree(fitted, folder / "begun" / "run")
    for out, sentence in (
        ("file", "file: there is a file of this name"),
        ("runs/a", "runs/a: this folder is a run"),
        ("begun", "begun/run: there is another run here, in which data.rows (None, 0:600) differ"),
    ):
        result = shown("--out", out)
        assert result.exit_code == 2
        assert sentence in result.stderr


def test_any_seed_makes_a_demo(monkeypatch, data, folder):
    monkeypatch.setenv("TOY_SAMPLE", str(data))
    seen = []
    monkeypatch.setattr(MODULE, "fit", lambda *_, **words: seen.append(words["overrides"][-1]))
    monkeypatch.setattr(MODULE, "load", lambda run: SimpleNamespace(conditional=True))
    monkeypatch.setattr(MODULE, "generate", lambda *_, seed, **__: seen.append(seed) or pytest.skip("enough seen"))
    with pytest.raises(pytest.skip.Exception):
        demo("toy", seed=2**31 - 1)
    assert seen == ["seed=2147483647", 2**31 - 2]
    with pytest.raises(ConfigError):
        demo("toy", seed=2**31)
