"""MLflow gets everything once, whatever happens, and costs nothing when it fails."""

import json
import os
import signal
import time

import pandas
import pytest
import torch
from maquette import load
from maquette.core.engine import pace
from maquette.core.errors import Interrupted
from maquette.pipelines.console.screen import Silent
from maquette.pipelines.fit import fit
from maquette.pipelines.mlflow import run_log, store
from maquette.pipelines.mlflow.run_log import RunLog
from maquette.pipelines.mlflow.store import connect, store_uri
from maquette.pipelines.mlflow.tracker import Tracker
from maquette.pipelines.run.folder import Run
from maquette.pipelines.run.record import RunRecord, read_record
from maquette.pipelines.validate import validate

WORDS = ["data.validation=100"]


class Heard(Silent):
    """Keeps warnings."""

    def __init__(self):
        self.warnings = []

    def warn(self, text):
        self.warnings.append(text)


def test_after_a_kill_each_step_is_there_once_and_the_model_can_be_served(start, data, folder, monkeypatch):
    words = ("fit", "toy", "--data", data, "--out", "run", "--resume", *WORDS)
    process = start(*words, TOY_SECONDS_PER_STEP="0.02")
    losses = folder / "run" / "losses.jsonl"
    while not losses.exists() or '"step": 30' not in losses.read_text():  # ten steps after a checkpoint
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)

    heard = Heard()
    fit("toy", data=data, out="run", resume=True, overrides=WORDS, screen=heard, tags={"study": "widths"})
    assert heard.warnings == []

    import mlflow

    client, _ = connect("toy")
    run_id = json.loads((folder / "run" / "tracking.json").read_text())["run_id"]
    found = client.get_run(run_id)
    assert [point.step for point in client.get_metric_history(run_id, "line/line/loss")] == list(range(5, 61, 5))
    last = json.loads(losses.read_text().splitlines()[-2])
    assert found.data.metrics["line/line/loss"] == last["loss"]
    assert {"held_out/line/line", "line/line/lr"} <= set(found.data.metrics)
    assert {name for name in found.data.metrics if name.startswith("system/")} == {
        f"system/line/line/{name}" for name in pace.KEYS
    }
    assert found.info.status == "FINISHED"
    assert found.data.params["generator.family.width"] == "0.1"
    record = json.loads((folder / "run" / "run.json").read_text())
    assert found.data.tags["maquette.config_hash"] == record["config_hash"]
    assert found.data.tags["maquette.data_sha256"] == record["data"]["sha256"]
    assert found.data.tags["study"] == "widths"
    assert {"config.yaml", "run.json", "report.html", "figures", "model"} <= {
        one.path for one in client.list_artifacts(run_id)
    }

    monkeypatch.setattr(mlflow, "set_tracking_uri", mlflow.set_tracking_uri)
    mlflow.set_tracking_uri(store_uri())
    angles = [0.0, 1.0, 2.0]
    model, table = mlflow.pyfunc.load_model(f"runs:/{run_id}/model"), pandas.DataFrame({"angle": angles})
    for seed, params in ((0, None), (7, {"seed": 7})):
        expected = load("run").sample(3, {"angle": torch.tensor(angles)[:, None]}, seed=seed)
        torch.testing.assert_close(torch.from_numpy(model.predict(table, params=params)), expected)
    assert (model.predict(table, params={"seed": 7}) != model.predict(table)).all()
    assert len(model.predict(pandas.DataFrame(index=range(5)))) == 5
    assert not list((folder / "mlartifacts").rglob("*.pkl"))
    (listed,) = (folder / "mlartifacts").rglob("requirements.txt")
    wanted = listed.read_text().split("\n")
    assert f"torch=={torch.__version__.partition('+')[0]}" in wanted
    assert all("==" in one for one in wanted if one)
    assert not [one for one in wanted if one.startswith(("maquette=", "onnx"))]

    for step in range(2):
        validate("toy", reference=data, generated=data, out="run/validation", run="run")
        after = client.get_run(run_id).data
        assert after.metrics["validation/radius"] == 0
        assert after.tags["maquette.verdict"].startswith("indistinguishable")
        steps = [point.step for point in client.get_metric_history(run_id, "validation/radius")]
        assert steps == list(range(step + 1))

    # what only lies beside the run's own things has an MLflow run of its own
    done = validate("toy", reference=data, generated=data, out="run/simulated")
    assert done.store == store_uri()
    assert client.get_run(run_id).data.tags["maquette.validations"] == "2"

    # rows that were sent but lie beyond the checkpoint come again after a resume
    again = Tracker(Run(folder / "run"), fit_config(), RunRecord.model_validate(record), heard)
    again.row({"stage": "line", "player": "line", "step": 60, "loss": last["loss"]})
    again.row({"stage": "line", "player": "line", "step": 65, "loss": 0.5})
    again.checkpoint(65)
    steps = [point.step for point in client.get_metric_history(run_id, "line/line/loss")]
    assert steps == list(range(5, 66, 5))
    assert heard.warnings == []


def fit_config():
    import toy
    from maquette.pipelines.run.config import resolve

    return resolve(toy.Toy(), overrides=WORDS)


def test_an_mlflow_run_is_completed_wherever_a_kill_had_left_it(data, folder, monkeypatch):
    """A kill, which asks nobody, is an exception here that nobody catches."""

    class Killed(BaseException):
        pass

    def kill(*_, **__):
        raise Killed

    words = {"data": data, "out": "run", "resume": True, "overrides": ["training.steps=5"]}
    for owner, name in (
        (store.TrackingRecord, "write"),  # before the folder names the MLflow run
        (run_log, "_log_parameters"),
        (run_log, "_log_model"),  # run.json says "finished" already
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, kill)
            patch.setattr(RunLog, "abandon", lambda *_: None)
            with pytest.raises(Killed):
                fit("toy", **words)
    client, experiment = connect("toy")
    (left,) = client.search_runs([experiment])
    assert left.info.status == "RUNNING"
    heard = Heard()
    assert fit("toy", **words, screen=heard).already
    (found,) = client.search_runs([experiment])
    assert (found.info.status, found.data.params["training.steps"]) == ("FINISHED", "5")
    assert "model" in {one.path for one in client.list_artifacts(found.info.run_id)}
    assert heard.warnings == []

    monkeypatch.setattr("maquette.pipelines.mlflow.tracker.reach", kill)
    assert fit("toy", **words).already  # nothing is left to send


def test_a_signal_while_the_model_is_logged_is_no_failure_of_the_store(data, folder, monkeypatch):
    def interrupt(*_):
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("went on")

    heard, words = Heard(), {"data": data, "out": "run", "resume": True, "overrides": ["training.steps=5"]}
    with monkeypatch.context() as patch:
        patch.setattr("maquette.pipelines.mlflow.run_log._log_model", interrupt)
        with pytest.raises(Interrupted, match="go on with --resume"):
            fit("toy", **words, screen=heard)
    assert heard.warnings == []


def test_a_store_that_fails_costs_a_warning_and_no_more(data, folder):
    (folder / "mlflow.db").write_bytes(b"this is no SQLite file " * 100)
    heard = Heard()
    fit("toy", data=data, out="run", overrides=["training.steps=5"], screen=heard)
    assert len(heard.warnings) == 1
    assert "MLflow cannot be reached" in heard.warnings[0]
    assert json.loads((folder / "run" / "run.json").read_text())["status"] == "finished"


def test_a_store_that_fails_later_is_left_alone(fitted, folder, monkeypatch):
    class Gone:
        calls = 0

        def log_batch(self, *_, **__):
            Gone.calls += 1
            raise ConnectionError("gone")

    heard = Heard()
    monkeypatch.setattr("maquette.pipelines.mlflow.tracker.reach", lambda *_: None)
    monkeypatch.setattr(run_log, "SECONDS_BETWEEN_SENDS", 0.0)
    tracker = Tracker(Run(fitted), fit_config(), RunRecord.read(fitted / "run.json"), heard)
    tracker.log = RunLog(Gone(), Run(fitted), "x")
    for step in range(3):
        tracker.row({"stage": "a", "player": "r", "step": step, "loss": 1.0})
    tracker.checkpoint(3)
    assert Gone.calls == 1
    assert len(heard.warnings) == 1


def test_a_store_that_is_back_at_the_end_gets_everything(data, folder, monkeypatch):
    class Away(Heard):
        """The store is away for the steps in the middle."""

        def progress(self, what, done, *_, **__):
            if done == 5:
                patch.setattr(RunLog, "row", gone)
            if done == 10:
                patch.undo()

    def gone(*_):
        raise ConnectionError("gone")

    heard, patch = Away(), pytest.MonkeyPatch()
    fit("toy", data=data, out="run", overrides=["training.steps=15"], screen=heard)
    assert ["gone" in one for one in heard.warnings] == [True]
    client, experiment = connect("toy")
    (found,) = client.search_runs([experiment])
    assert found.info.status == "FINISHED"
    assert [one.step for one in client.get_metric_history(found.info.run_id, "line/line/loss")] == [5, 10, 15]


def test_each_of_several_data_files_has_its_digest_among_the_tags(odd_runs):
    class Client:
        def __init__(self):
            self.tags = {}

        def set_tag(self, run_id, key, value):
            self.tags[key] = value

    run, client = Run(odd_runs / "translation"), Client()
    record = read_record(run)
    run_log._log_tags(client, "4c1f", run, record)
    photos, paintings = (each.sha256 for each in record.sources)
    assert client.tags["maquette.data_sha256"] == photos
    assert client.tags["maquette.data_sha256.paintings"] == paintings != photos
