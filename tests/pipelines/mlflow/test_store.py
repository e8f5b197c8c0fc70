"""The store can be opened by two processes at once, and by hand."""

import os
import shlex
import subprocess
import sys
import time

import pytest
from maquette.pipelines.mlflow.store import connect, how_to_open


def test_two_processes_may_start_on_one_fresh_store(folder):
    code = (
        "import sys, time, pathlib\nimport mlflow\nfrom maquette.pipelines.mlflow.store import connect\n"
        "pathlib.Path(sys.argv[1]).touch()\n"
        "while not pathlib.Path('go').exists(): time.sleep(0.001)\n"
        "client, experiment = connect('toy')\nprint(experiment, client.create_run(experiment).info.run_id)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, name], stdout=-1, stderr=-1, text=True, cwd=folder)
        for name in ("one", "two")
    ]
    while not ((folder / "one").exists() and (folder / "two").exists()):
        assert all(process.poll() is None for process in processes), processes[0].stderr.read()
        time.sleep(0.01)
    (folder / "go").touch()
    answers = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    (first, one), (second, two) = (answer[0].split() for answer in answers)
    assert first == second
    assert one != two


def test_a_store_is_made_whole_or_not_at_all(folder, monkeypatch):
    """One whose migrations a kill cut short could never be opened again."""

    def killed(source, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            connect("toy")
    assert not (folder / "mlflow.db").exists()
    (folder / ".mlflow.db.1.new").write_bytes(b"half of the tables")
    (folder / ".mlflow.db.1.new-journal").touch()
    (folder / "mlflow.db").touch()  # what SQLite leaves where it was killed before the first table
    client, experiment = connect("toy")
    assert connect("toy")[1] == experiment
    assert client.get_run(client.create_run(experiment).info.run_id).info.status == "RUNNING"
    assert sorted(file.name for file in folder.iterdir()) == ["mlflow.db", "mlflow.db.lock"]


def test_how_to_open_is_quoted_for_a_shell():
    line = how_to_open("sqlite:////home/a user/mlflow.db")
    assert shlex.split(line) == ["mlflow", "ui", "--backend-store-uri", "sqlite:////home/a user/mlflow.db"]
    assert how_to_open("http://tracker:5000") == "http://tracker:5000"
