"""The contract of the command line: words, exit codes, sentences, and a quick start."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from maquette.core.errors import ConfigError

VERBS = ["demo", "simulate", "fit", "generate", "validate", "report", "export", "list", "doctor", "config", "data"]


def test_help_names_every_verb_and_the_exit_codes(maquette):
    result = maquette("--help")
    assert result.exit_code == 0
    assert all(verb in result.stdout for verb in VERBS)
    assert "75 interrupted with the state saved" in " ".join(result.stdout.split())


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help(maquette, verb):
    result = maquette(verb, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom maquette.pipelines.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "assert CliRunner().invoke(app, ['fit', '--help']).exit_code == 0\n"
        "heavy = {'torch', 'mlflow', 'matplotlib', 'h5py', 'numpy', 'sklearn', 'zuko', 'scipy', 'jinja2'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_verbs_are_functions_of_the_package():
    import maquette

    assert {"demo", "simulate", "fit", "generate", "validate", "report", "export", "load"} <= set(maquette.__all__)
    assert all(callable(getattr(maquette, name)) for name in maquette.__all__ if name != "__version__")
    with pytest.raises(AttributeError, match="no attribute 'studdy'"):
        _ = maquette.studdy


def test_version(maquette):
    from maquette import __version__

    assert maquette("--version").stdout.split() == ["maquette", __version__]


def test_a_signal_while_the_process_leaves_does_not_spoil_the_exit_code():
    code = (
        "import os, signal, sys\nfrom maquette.pipelines import cli\ncli.app = lambda **_: sys.exit(2)\n"
        "try:\n    cli.main()\nfinally:\n    os.kill(os.getpid(), signal.SIGTERM)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 2


def test_an_unknown_domain_is_one_sentence_with_the_known_ones(maquette):
    result = maquette("fit", "toi", "--data", "x", "--out", "run")
    assert result.exit_code == 2
    assert 'Did you mean "toy"?' in result.stderr
    assert "Traceback" not in result.output


def test_debug_lets_the_traceback_through(maquette, monkeypatch):
    monkeypatch.setenv("MAQUETTE_DEBUG", "0")  # restored after the test
    result = maquette("--debug", "fit", "toi", "--data", "x", "--out", "run")
    assert isinstance(result.exception, ConfigError)


def test_errors_of_the_program_itself_are_a_sentence_too(maquette, data, monkeypatch):
    import toy

    def broken(*_: object) -> None:
        raise ZeroDivisionError("by design")

    monkeypatch.setattr(toy.Toy, "open", broken)
    result = maquette("data", "check", "toy", data)
    assert result.exit_code == 1
    assert "ZeroDivisionError: by design" in result.stderr
    assert "--debug" in result.stderr


def test_data_check(maquette, data: Path, folder: Path):
    assert maquette("data", "check", "toy", data).exit_code == 0
    (folder / "x.h5").write_bytes(b"not HDF5")
    result = maquette("data", "check", "toy", folder / "x.h5")
    assert result.exit_code == 2
    assert "expected a toy file" in result.stderr


def test_the_reader_takes_options_and_an_unknown_option_suggests_them(maquette, data):
    assert maquette("data", "check", "toy", data, "--option", "surface=flat").exit_code == 0
    for words in (["data", "check", "toy", data], ["fit", "toy", "--data", data, "--out", "run"]):
        result = maquette(*words, "--surface", "flat")
        assert result.exit_code == 2
        assert "--option surface=VALUE" in result.stderr
    assert "no option" in maquette("data", "check", "toy", data, "--option", "surfaces=flat").stderr
    assert "KEY=VALUE" in maquette("data", "check", "toy", data, "--option", "flat").stderr


def test_a_reader_that_leaves_ends_the_command_without_a_traceback(start):
    process = start("list", "families")
    process.stdout.close()
    errors = process.stderr.read()
    process.wait(60)
    assert "Traceback" not in errors
    assert "Exception" not in errors


def test_other_ranks_are_silent(maquette, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert maquette("list", "domains").output == ""


def test_a_verb_says_where_its_run_is_logged_if_it_is(maquette, data, fitted, folder, monkeypatch):
    assert "MLflow" not in maquette("report", fitted).output
    shutil.copytree(fitted, folder / "run")
    (folder / "run" / "tracking.json").write_text(json.dumps({"uri": "sqlite:////elsewhere/x.db", "run_id": "1"}))
    line = "MLflow: mlflow ui --backend-store-uri sqlite:////elsewhere/x.db"
    for words in (["report", "run"], ["generate", "run", "--n", "5", "--out", "x.h5"]):
        assert line in maquette(*words).stdout
    sides = ["--reference", data, "--generated", data, "--out", "v"]
    assert "MLflow" not in maquette("validate", "toy", *sides, "--no-tracking").output
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "ftp://nowhere")
    assert "MLflow:" not in maquette("validate", "toy", *sides).stdout
    result = maquette("simulate", "toy", "--n", "5", "--out", "made/y.h5")
    assert f"folder: {folder / 'made'}" in result.stdout
    assert "MLflow" not in result.stdout
