"""Conditions from words and files, for a model of showers in a geometry of the user's own."""

import h5py
import pandas
import pytest
import torch
from maquette.core.errors import ConfigError
from maquette.data_specs.calorimeter.geometries import known_geometry
from maquette.data_specs.calorimeter.geometry import Geometry
from maquette.data_specs.calorimeter.geometry_xml import write_geometry
from maquette.data_specs.errors import DataError
from maquette.domains import domains
from maquette.pipelines.cli import app
from maquette.pipelines.fit import fit
from maquette.pipelines.generate import generate
from maquette.pipelines.load import load
from maquette.pipelines.mlflow.pyfunc import ServedModel
from typer.testing import CliRunner

N = 200
WORDS = ["data.rows=0:200", "training.steps=2", "training.batch_size=16", "tracking=none"]


def write(file, *, factor=1.0, voxels=None, **attributes):
    """The first showers of the sample, with no word of their geometry; incident energies times a factor."""
    with h5py.File(domains.get("calorimeter").sample_path()) as source, h5py.File(file, "w") as target:
        target["incident_energies"] = factor * source["incident_energies"][:N]
        target["showers"] = factor * source["showers"][:N, :voxels]
        target.attrs.update(attributes)
    return file


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("own")


@pytest.fixture(scope="module")
def run(folder):
    """A model of a geometry that came by an XML file alone; its showers have voxels that no known geometry has."""
    layers = known_geometry("calogan").layers[:2]
    write_geometry(folder / "own.xml", Geometry("own", layers, threshold=2e-3))
    data = write(folder / "training.h5", voxels=432)
    words = [*WORDS, f"data.options.geometry={folder / 'own.xml'}"]
    return fit("calorimeter", data=data, out=folder / "run", recipe="smoke", overrides=words).run.folder


def test_the_training_file_names_conditions_without_saying_its_geometry(run, folder):
    made = generate(run, conditions_from=folder / "training.h5", out=folder / "again.h5")
    assert made.n == N
    with h5py.File(folder / "again.h5") as found, h5py.File(folder / "training.h5") as given:
        assert (found["incident_energies"][:] == given["incident_energies"][:]).all()
    again = domains.get("calorimeter").open(folder / "again.h5", {})
    assert (again.geometry.name, again.geometry.threshold) == ("own", 2e-3)


def test_conditions_are_not_taken_from_another_geometry(run, folder):
    other = write(folder / "other.h5", geometry="calogan")
    with pytest.raises(DataError, match=r"geometry calogan .* cells are not those of own"):
        generate(run, conditions_from=other, out=folder / "no.h5")
    with pytest.raises(DataError, match="432 voxels, but each shower has 504; give a file of this geometry"):
        generate(run, conditions_from=write(folder / "whole.h5"), out=folder / "no.h5")


def test_words_files_and_python_keep_to_what_training_showed(run, folder):
    high = write(folder / "high.h5", factor=100.0, voxels=432)
    sentence = r"energy: the model was trained on 1\d{3}.* MeV and cannot extrapolate; found \d{6}"
    for way in ({"conditions_from": high}, {"conditions": {"energy": "500 GeV"}, "n": 5}):
        with pytest.raises(ConfigError, match=sentence):
            generate(run, out=folder / "no.h5", **way)
    condition = (
        domains.get("calorimeter").open(high, {}, load(run).generator.description).fetch(torch.arange(5)).condition
    )
    with pytest.raises(ConfigError, match=sentence):
        load(run).sample(5, condition)
    served = ServedModel(load(run))
    with pytest.raises(ConfigError, match=sentence):
        served.predict(pandas.DataFrame({"energy": [5000, 500_000]}))
    assert served.predict(pandas.DataFrame({"energy": [5000, 6000]})).shape == (2, 432)
    assert not list(folder.glob("no.h5*"))


def test_too_few_showers_leave_no_run_behind(folder):
    few = write(folder / "few.h5")
    with pytest.raises(DataError, match="at least 20 showers to train on, found 1"):
        fit("calorimeter", data=few, out=folder / "none", recipe="smoke", overrides=["data.rows=0:1", *WORDS[1:]])
    assert not (folder / "none").exists()


def test_the_geometry_is_printed_where_showers_are_made(run, folder, monkeypatch):
    monkeypatch.chdir(folder)
    for words in (["generate", str(run), "condition.energy=5 GeV"], ["simulate", "calorimeter"]):
        result = CliRunner().invoke(app, [*words, "--n", "5", "--out", f"{words[0]}.h5"])
        assert result.exit_code == 0, result.output
        name, threshold = ("own", "2 keV") if words[0] == "generate" else ("calogan", "1 keV")
        lines = [line.split() for line in result.output.splitlines()]
        assert ["geometry", name] in lines
        assert ["readout", "threshold", *threshold.split()] in lines
