"""The contract of the command line: words, exit codes, sentences, and a quick start."""

import subprocess
import sys
from pathlib import Path

import pytest
from maquette.core.errors import (
    ArtifactError,
    ConfigError,
    Interrupted,
    MaquetteError,
    SampleError,
    SpaceError,
    TrainingError,
)
from maquette.data_specs.errors import DataError
from maquette.pipelines.console.errors import error_sentence, exit_code
from maquette.pipelines.console.extras import install_line

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


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (ArtifactError("x"), 2),
        (SpaceError("x"), 2),
        (SampleError("x"), 2),
        (DataError("x"), 2),
        (TrainingError("x"), 1),
        (MaquetteError("x"), 1),
        (OSError(28, "No space left on device"), 1),
        (Interrupted("x"), 75),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(error, code):
    assert exit_code(error) == code


def test_a_full_disk_is_named():
    assert error_sentence(OSError(28, "No space left on device", "runs/x")) == "runs/x: No space left on device."


def test_a_domain_without_its_extra_is_listed_with_the_remedy(maquette, monkeypatch):
    from maquette.domains import domains

    def missing() -> None:
        raise ModuleNotFoundError("No module named 'astropy'", name="astropy")

    monkeypatch.setitem(domains._loaders, "boxes", missing)
    result = maquette("list", "domains")
    assert result.exit_code == 0
    assert f"needs astropy: {install_line('cosmology')}" in result.stdout


def test_a_missing_extra_is_answered_with_the_line_that_installs_it():
    error = ModuleNotFoundError("No module named 'rdkit'", name="rdkit.Chem")
    assert error_sentence(error).endswith(install_line("molecules"))
    assert "--debug" in error_sentence(ModuleNotFoundError("No module named 'x'", name="x"))


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


def test_data_check_takes_a_geometry(maquette, data):
    assert maquette("data", "check", "toy", data, "--geometry", "flat").exit_code == 0


def test_lists(maquette):
    families, domains = maquette("list", "families").stdout, maquette("list", "domains").stdout
    assert "toy-line" in families
    assert "a straight line" in families
    assert "points on a circle" in domains
    assert "quick" in maquette("list", "recipes", "toy").stdout


def test_families_are_listed_by_folder_and_readable_at_80_columns(capsys, monkeypatch):
    from maquette.core.families import families
    from maquette.pipelines.console.screen import Terminal
    from maquette.pipelines.listing import families_tables

    monkeypatch.setenv("COLUMNS", "80")
    with Terminal() as screen:
        for title, listing in families_tables():
            screen.table(title, *listing)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    folders = {part.partition("\n")[0]: part for part in printed.split("families: ")[1:]}
    assert list(folders) == sorted(folders)
    assert "toy-line" in folders["others"]  # from another distribution
    spline = " ".join(folders["flows"].partition("\nspline ")[2].split())
    assert "can: sample, density, encode models: vector, field, product; supports: real" in spline
    words = set(printed.split())
    assert {word for _, config in families.items() for word in config.reference.split()} <= words  # none is broken


def test_doctor_gives_the_exact_line_for_what_is_missing(maquette, monkeypatch):
    from maquette.pipelines import doctor

    def unreachable(experiment: str) -> None:
        raise ConnectionError("the store sleeps")

    monkeypatch.setattr(doctor, "connect", unreachable)
    monkeypatch.setattr(doctor, "EXTRAS", {"molecules": ("no_such_module",), "present": ("json",)})
    result = maquette("doctor")
    assert result.exit_code == 0
    assert install_line("molecules") in result.stdout
    assert "the store sleeps" in result.stdout
    assert "set MLFLOW_TRACKING_URI" in result.stdout


def test_doctor_tells_the_memory_of_a_node(monkeypatch):
    from types import SimpleNamespace

    from maquette.pipelines import doctor
    from maquette.pipelines.console.extras import install_line

    memory = SimpleNamespace(total=64 * 2**30, available=10.5 * 2**30)
    monkeypatch.setitem(sys.modules, "psutil", SimpleNamespace(virtual_memory=lambda: memory))
    assert doctor._memory()[:3] == ("memory", "10.5 of 64.0 GiB free", "")
    monkeypatch.setitem(sys.modules, "psutil", None)  # as if it were not installed
    assert doctor._memory()[:3] == ("memory", "not known without psutil", install_line("cluster"))
    assert "memory" in {check.what for check in doctor._machine()}


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
