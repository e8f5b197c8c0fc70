"""What a fit leaves behind, when it refuses to begin, and how it goes on after an interruption."""

import json
import os
import shutil
import signal
import time
from importlib import import_module

import pytest
import torch
import toy
import yaml
from maquette import load
from maquette.core.engine.losses import read_rows
from maquette.core.errors import ConfigError, Interrupted
from maquette.data_specs.errors import DataError
from maquette.pipelines.console.screen import Silent
from maquette.pipelines.fit import fit
from maquette.pipelines.run.folder import Run
from maquette.pipelines.simulate import simulate

fit_module = import_module("maquette.pipelines.fit")
TOY = toy.Toy()
ROWS = 60 // 5  # of the loss file: steps over log_every


def losses(run):
    return [row for row in map(json.loads, (run / "losses.jsonl").read_text().splitlines()) if "loss" in row]


def test_a_run_holds_config_provenance_losses_model_and_report(fitted):
    assert yaml.safe_load((fitted / "config.yaml").read_text())["training"]["steps"] == 60
    record = json.loads((fitted / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["data"]["training_rows"] == 800
    assert record["wall_seconds"] > 0
    assert {"torch", "maquette"} <= set(record["packages"])
    assert len(losses(fitted)) == ROWS
    assert losses(fitted)[-1]["loss"] < losses(fitted)[0]["loss"] / 4
    assert (fitted / "figures" / "losses.png").read_bytes().startswith(b"\x89PNG")
    assert "Not validated yet" in (fitted / "report.html").read_text()


def test_held_out_rows_are_looked_at(fitted):
    rows = [json.loads(line) for line in (fitted / "losses.jsonl").read_text().splitlines()]
    held_out = [row["held_out/line/line"] for row in rows if "held_out/line/line" in row]
    assert held_out[-1] == pytest.approx(losses(fitted)[-1]["loss"], rel=0.3)


def test_the_command_prints_data_run_and_mlflow(maquette, data):
    result = maquette("fit", "toy", "--data", data, "--out", "runs/x", "--no-tracking", "training.steps=2")
    assert result.exit_code == 0, result.output
    assert "largest radius" in result.stdout
    assert "run: runs/x" in result.stdout
    assert "MLflow" not in result.output  # it knows nothing of the run


def test_two_fits_do_not_work_in_one_folder(data, folder):
    words = {"data": data, "out": folder / "run", "overrides": ["training.steps=10", "tracking=none"], "resume": True}
    refused = []

    class Second(Silent):
        """Starts the same command again while the first one is at work, as a requeued job would."""

        def progress(self, *_, **__):
            with pytest.raises(ConfigError, match="another fit works here"):
                fit("toy", **words)
            refused.append(True)

    fit("toy", **words, screen=Second())
    assert refused
    assert fit("toy", **words).already
    assert not (folder / "run" / ".lease.json").exists()


def test_an_existing_run_is_refused_with_the_remedy(fitted, data, maquette):
    result = maquette("fit", "toy", "--data", data, "--out", fitted)
    assert result.exit_code == 2
    assert "Add --resume" in result.stderr


def test_a_finished_run_says_so(fitted, data, maquette):
    before = (fitted / "run.json").read_bytes()
    result = maquette("fit", "toy", "--data", data, "--out", fitted, "--resume")
    assert result.exit_code == 0
    assert "finished already" in result.stdout
    assert (fitted / "run.json").read_bytes() == before


def test_a_run_goes_on_with_its_own_config_only(fitted, data):
    with pytest.raises(ConfigError, match=r"training\.steps \(60, 90\)"):
        fit("toy", data=data, out=fitted, resume=True, overrides=["data.validation=100", "training.steps=90"])


@pytest.mark.parametrize(
    "words", [["--out", "../x"], ["--out", "x", "training.stepz=3"], ["--out", "x", "--recipe", "q"]]
)
def test_bad_input_leaves_nothing_behind(maquette, data, folder, words):
    result = maquette("fit", "toy", "--data", data, *words)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert not (folder / "x").exists()


def test_rows_are_held_against_the_file(data, folder):
    for override in ("data.rows=0:901", "data.rows=5:5", "data.validation=900"):
        with pytest.raises(ConfigError, match="900"):
            fit("toy", data=data, out="x", overrides=[override])
    assert not (folder / "x").exists()


def test_no_gpu_is_a_sentence(data, folder):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(ConfigError, match="choose --device cpu or auto"):
        fit("toy", data=data, out="x", device="cuda")


def test_a_signal_saves_and_the_same_command_ends_like_an_undisturbed_one(start, data, folder, fitted):
    words = ("fit", "toy", "--data", data, "--out", "run", "--resume", "data.validation=100", "tracking=none")
    process = start(*words, TOY_SECONDS_PER_STEP="0.05")
    while not (folder / "run" / "losses.jsonl").exists() or not losses(folder / "run"):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors
    assert "Traceback" not in errors
    record = json.loads((folder / "run" / "run.json").read_text())
    assert record["status"] == "interrupted"

    class Heard(Silent):
        def say(self, text):
            said.append(text)

    said, step = [], sorted(os.listdir(folder / "run" / "checkpoints"))[-1]
    fit("toy", data=data, out=folder / "run", resume=True, screen=Heard())  # the stored config, without saying it again
    assert said == [f"{folder / 'run'}: goes on after step {int(step[5:])} of all stages ({step})"]
    assert read_rows(folder / "run" / "losses.jsonl", pace=False) == read_rows(fitted / "losses.jsonl", pace=False)
    ours, theirs = (load(run).generator.state_dict() for run in (folder / "run", fitted))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert json.loads((folder / "run" / "run.json").read_text())["sessions"] == 2

    simulate("toy", n=900, seed=4, out=folder / "other.h5")
    (folder / "run" / "run.json").write_text(json.dumps(record))  # as if it had never finished
    with pytest.raises(ConfigError, match="began with other data"):
        fit("toy", data=folder / "other.h5", out=folder / "run", resume=True)


@pytest.mark.parametrize("moment", ["split_all", "_build", "RunRecorder", "restore", "measure_latency", "report"])
def test_a_signal_around_the_steps_is_answered_at_once(fitted, data, folder, monkeypatch, moment):
    def interrupt(*_, **__):
        os.kill(os.getpid(), signal.SIGUSR1)
        pytest.fail("went on")

    words = {"data": data, "out": folder / "run", "resume": True}
    with monkeypatch.context() as patch:
        patch.setattr(fit_module, moment, interrupt)
        with pytest.raises(Interrupted, match="go on with --resume"):
            fit("toy", **words, overrides=["data.validation=100", "tracking=none"])
    fit("toy", **words, overrides=["data.validation=100", "tracking=none"])
    ours, theirs = (load(run).generator.state_dict() for run in (folder / "run", fitted))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_command_answers_a_signal_from_its_start(maquette, data, monkeypatch):
    def interrupt(*_, **__):
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("went on")

    monkeypatch.setattr(fit_module, "fit", interrupt)
    result = maquette("fit", "toy", "--data", data, "--out", "run")
    assert result.exit_code == 75
    assert "A signal ended the fit" in result.stderr


def test_a_run_comes_from_its_first_session(data, folder, monkeypatch):
    provenance = import_module("maquette.pipelines.run.provenance")
    words = {"data": data, "out": "run", "resume": True, "overrides": ["tracking=none", "training.steps=5"]}
    for session in ("first", "second", "third"):
        with monkeypatch.context() as patch:
            patch.setattr(provenance, "command", lambda name=session: name)
            patch.setattr(import_module("maquette.pipelines.run.record"), "now", lambda name=session: f"end of {name}")
            if session != "third":
                patch.setattr(fit_module, "measure_latency", fail)
                with pytest.raises(ZeroDivisionError):
                    fit("toy", **words)
                path = folder / "run" / "run.json"
                path.write_text(json.dumps(json.loads(path.read_text()) | {"wall_seconds": (seconds := 1000.0)}))
            else:
                fit("toy", **words)
    record = json.loads((folder / "run" / "run.json").read_text())
    assert (record["command"], record["finished"], record["sessions"]) == ("first", "end of third", 3)
    assert record["wall_seconds"] > seconds > 0
    assert [session["command"] for session in record["resumed"]] == ["second", "third"]
    assert {"started", "git", "packages", "hardware", "device", "world_size"} <= set(record["resumed"][0])
    assert "second" in (folder / "run" / "report.html").read_text()


def fail(*_, **__):
    raise ZeroDivisionError


def test_a_finished_run_is_held_against_the_data_too(fitted, folder):
    simulate("toy", n=900, seed=4, out="other.h5")
    with pytest.raises(ConfigError, match="began with other data"):
        fit("toy", data="other.h5", out=fitted, resume=True)
    with pytest.raises(DataError, match=r"gone\.h5"):
        fit("toy", data="gone.h5", out=fitted, resume=True)


def test_where_a_run_is_logged_may_change_on_resuming(fitted, data):
    config = fit_module._config(TOY, Run(fitted), None, ["tracking=mlflow"], True)
    assert config.tracking == "mlflow"
    assert fit_module._config(TOY, Run(fitted), None, [], True).tracking == "none"


def test_a_recipe_for_other_data_names_those_that_fit(data, folder, monkeypatch):
    def refuse(self, description, source=None):
        if self.family.width > 0.1:
            raise ConfigError("family.width: there is no such circle.")
        return build(self, description, source)

    build = toy.ToyGeneratorConfig.build
    monkeypatch.setattr(toy.ToyGeneratorConfig, "build", refuse)
    file = folder / "wide.yaml"
    file.write_text("domain: toy\ngenerator: {family: {kind: toy-line, width: 0.2}}")
    recipes = {**TOY.recipes(), "wide": file}
    monkeypatch.setattr(type(TOY), "recipes", lambda self: recipes)
    sentence = (
        r"The recipe wide is not made for such data \(family\.width: there is no such circle\); these are: quick\."
    )
    with pytest.raises(ConfigError, match=sentence):
        fit("toy", data=data, out="x", recipe="wide")
    with pytest.raises(ConfigError, match=r"^family\.width: there is no such circle\.$"):
        fit("toy", data=data, out="x", overrides=["generator.family.width=0.3"])
    assert not (folder / "x").exists()


def test_a_kill_between_the_last_step_and_the_model_is_mended(fitted, data, folder):
    run = folder / "run"
    shutil.copytree(fitted, run)
    shutil.rmtree(run / "model")
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"status": "running"}))
    fit("toy", data=data, out=run, resume=True)
    assert read_rows(run / "losses.jsonl", pace=False) == read_rows(fitted / "losses.jsonl", pace=False)
    ours, theirs = (load(folder).generator.state_dict() for folder in (run, fitted))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    ("figures", "note", "seconds_left"),
    [
        ({}, "loss 1.388", None),
        (
            {"samples_per_second": 41_234.5, "memory_gb": 0.612, "seconds_left": 130.0},
            "loss 1.388, 41,000 samples/s, 0.6 GB",
            130.0,
        ),
        ({"memory_gb": 0.612}, "loss 1.388, 0.6 GB", None),
    ],
)
def test_progress_shows_the_figures_that_a_row_has(figures, note, seconds_left):
    class Seen(Silent):
        calls = ()

        def progress(self, *arguments):
            self.calls = (*self.calls, arguments)

    screen = Seen()
    progress = fit_module.FitProgress(screen)
    progress.stage("layers", 1200)
    progress.row({"stage": "layers", "player": "model", "step": 350, "loss": 1.3876, **figures})
    progress.row({"stage": "layers", "player": "evaluation", "step": 350, "held_out/layers/model": 1.4})
    assert screen.calls == (("fit layers", 350, 1200, note, seconds_left),)
