"""Each error has an exit code and a sentence."""

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


def test_a_missing_extra_is_answered_with_the_line_that_installs_it():
    error = ModuleNotFoundError("No module named 'rdkit'", name="rdkit.Chem")
    assert error_sentence(error).endswith(install_line("molecules"))
    assert "--debug" in error_sentence(ModuleNotFoundError("No module named 'x'", name="x"))
