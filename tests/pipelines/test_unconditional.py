"""Samples without conditions go through every verb; the graphs of the tests of ranks and kills have none either."""

import json
from pathlib import Path

import h5py
import maquette
import pandas
import pytest
import torch
from maquette.core.errors import ConfigError
from maquette.pipelines.export import export
from maquette.pipelines.fit import fit
from maquette.pipelines.generate import generate
from maquette.pipelines.mlflow.pyfunc import ServedModel


@pytest.fixture(scope="module")
def cloud(cloud_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "cloud"
    fit("cloud", data=cloud_data, out=run, overrides=["tracking=none", "data.validation=100"])
    return run


def test_a_fit_ends_with_its_latency_and_can_be_resumed(cloud, cloud_data):
    record = json.loads((cloud / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["latency"]["single_ms"] > 0
    assert fit("cloud", data=cloud_data, out=cloud, resume=True).already


def test_samples_are_files_arrays_and_what_is_served(cloud, folder):
    model = maquette.load(cloud)
    x = model.sample(100, seed=7)
    generate(cloud, n=100, seed=7, out="x.h5", batch_size=64)
    with h5py.File("x.h5") as stream:
        assert list(stream) == ["x"]
        assert stream.attrs["conditions"] == "none"
        torch.testing.assert_close(torch.from_numpy(stream["x"][:]), x)
    served = ServedModel(model).predict(pandas.DataFrame(index=range(100)), {"seed": 7})
    torch.testing.assert_close(torch.from_numpy(served), x)


def test_conditions_that_a_model_does_not_have_are_refused(cloud, cloud_data, data, folder, maquette):
    for words in (["condition.angle=1", "--n", 5], ["--conditions-from", data]):
        result = maquette("generate", cloud, "--out", "x.h5", *words)
        assert result.exit_code == 2
        assert "this model has none" in result.stderr
    from maquette import load

    with pytest.raises(ConfigError, match="this model has none"):
        load(cloud).sample(2, torch.zeros(2, 1))
    with pytest.raises(ConfigError, match='"angle" is no condition'):
        ServedModel(load(cloud)).predict(pandas.DataFrame({"angle": [1.0]}))


def test_an_exported_file_has_noise_alone_as_its_input(cloud, folder):
    exported = export(cloud, format="onnx", out="cloud.onnx")
    assert exported.agreement.holds
    assert [port.role for port in exported.signature.inputs] == ["noise"]


def test_a_demo_judges_and_reports(cloud_data, folder, monkeypatch):
    monkeypatch.setenv("TOY_SAMPLE", str(cloud_data))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "ftp://nowhere")
    page = maquette.demo("cloud", out="demo").read_text()
    assert "distinguishable" in page.lower()
    (line,) = (line for line in page.splitlines() if line.startswith("maquette generate"))
    assert "condition" not in line
