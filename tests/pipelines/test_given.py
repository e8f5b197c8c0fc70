"""Conditions that are given, not drawn: fits, services and exports work on rows of the training data."""

import json
from pathlib import Path

import h5py
import maquette
import numpy as np
import pandas
import pytest
from maquette.core.errors import ConfigError
from maquette.domains import examples as examples_module
from maquette.pipelines.export import export
from maquette.pipelines.fit import fit
from maquette.pipelines.mlflow.pyfunc import ServedModel


@pytest.fixture(scope="module")
def given(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "given"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(examples_module, "EXAMPLE_BYTES", 40)  # ten angles
        fit("given", data=data, out=run, overrides=["tracking=none"])
    return run


def test_the_artefact_keeps_rows_of_the_training_data(given, data):
    record = json.loads((given / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["latency"]["single_ms"] > 0
    examples = maquette.load(given).generator.examples
    with h5py.File(data) as stream:
        np.testing.assert_array_equal(examples["angle"], stream["angle"][::90])


def test_without_conditions_a_sentence_says_how_they_are_given(given, data, folder, maquette):
    result = maquette("generate", given, "--n", 5, "--out", "x.h5")
    assert result.exit_code == 2
    assert result.stderr.count("--conditions-from") == 1
    assert not list(folder.glob("x.h5*"))
    assert maquette("generate", given, "--out", "x.h5", "--conditions-from", data).exit_code == 0
    from maquette import load

    with pytest.raises(ConfigError, match="are not drawn"):
        load(given).sample(5)


def test_served_conditions_have_the_type_of_training(given):
    served = ServedModel(maquette.load(given))
    assert served.predict(pandas.DataFrame({"angle": [0, 1, 2]})).shape == (3, 2)
    with pytest.raises(ConfigError, match='Did you mean "angle"'):
        served.predict(pandas.DataFrame({"angel": [1.0]}))


def test_exports_are_compared_on_rows_of_the_training_data(given, folder):
    exported = export(given, format="onnx", out="given.onnx")
    assert exported.agreement.holds
    angle, _ = exported.signature.inputs
    assert (angle.name, angle.shape, angle.seen) == ("angle", (1,), ())
