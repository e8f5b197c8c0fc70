"""Geometries: known ones, XML files, hostile XML, and how a file's geometry is found."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from maquette.data_specs.calorimeter.geometries import NAMES, known_geometry
from maquette.data_specs.calorimeter.geometry import MIN_DEPOSIT, CartesianLayer, Geometry, PolarLayer
from maquette.data_specs.calorimeter.geometry_json import geometry_from_json, geometry_to_json
from maquette.data_specs.calorimeter.geometry_xml import read_geometry, write_geometry
from maquette.data_specs.calorimeter.resolve import resolve_geometry
from maquette.data_specs.errors import DataError

VOXELS = {"calogan": 504, "ds1-photons": 368, "ds1-pions": 533, "ds2": 6480, "ds3": 40500}


@pytest.mark.parametrize("name", NAMES)
def test_known_geometries_have_the_published_voxel_counts(name: str) -> None:
    geometry = known_geometry(name)
    assert geometry.n_voxels == VOXELS[name]
    assert geometry.slices[-1].stop == VOXELS[name]
    assert [layer.id for layer in geometry.layers] == list(range(len(geometry.layers)))
    if geometry.depth_edges is not None:
        assert len(geometry.depth_edges) == len(geometry.layers) + 1
        assert (np.diff(geometry.depth_edges) > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_json_and_xml_round_trips(name: str, tmp_path: Path) -> None:
    geometry = known_geometry(name)
    assert geometry_from_json(json.loads(json.dumps(geometry_to_json(geometry)))) == geometry
    write_geometry(tmp_path / f"{name}.xml", geometry)
    again = read_geometry(tmp_path / f"{name}.xml")
    assert (again.layers, again.pid, again.name) == (geometry.layers, geometry.pid, name)
    assert again.threshold == geometry.threshold
    assert again.effective_threshold == (geometry.threshold or MIN_DEPOSIT)


@pytest.mark.parametrize(
    ("file", "name"),
    [("1_photons", "ds1-photons"), ("1_pions", "ds1-pions"), ("2", "ds2"), ("3", "ds3")],
)
def test_files_of_the_challenge_agree_with_ours(data_folder: Path, file: str, name: str, tmp_path: Path) -> None:
    theirs = read_geometry(data_folder / "calorimeter" / f"binning_dataset_{file}.xml")
    assert theirs.layers == known_geometry(name).layers
    write_geometry(tmp_path / "again.xml", theirs)
    assert read_geometry(tmp_path / "again.xml").layers == theirs.layers


def test_layers_without_cells_take_no_voxels() -> None:
    photons = known_geometry("ds1-photons")
    assert photons.active == (0, 1, 2, 3, 12)
    assert photons.layers[4].n_voxels == 0
    assert len(photons.layers[4].centers[0]) == 0


def _file(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "detector.xml"
    file.write_text(text)
    return file


def _bins(*layers: str, pid: str = "22") -> str:
    return f'<Bins><Bin pid="{pid}" name="x">{"".join(layers)}</Bin></Bins>'


FIRST = '<Layer id="0" r_edges="0,1,2" n_bin_alpha="4"/>'
THIRD = '<Layer id="2" r_edges="0,1,2" n_bin_alpha="4"/>'
BOMB = '<!DOCTYPE b [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>' + _bins(FIRST).replace('"x"', '"&b;"')


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "document type or entities"),
        ('<!DOCTYPE b SYSTEM "file:///etc/passwd">' + _bins(FIRST), "document type or entities"),
        (_bins(FIRST)[:-9], "not readable as XML"),
        ("<Geometry/>", "outermost element, found <Geometry>"),
        ("<Bins/>", "<Bin> element"),
        (_bins(), "expected <Layer> elements"),
        (_bins(FIRST, THIRD), "layer 1 is missing"),
        (_bins(FIRST, FIRST), "layer 0 is there 2 times"),
        (_bins(FIRST.replace("0,1,2", "0,2,1")), "layer 0: r_edges must increase"),
        (_bins(FIRST.replace("0,1,2", "0,nan,1")), "layer 0: r_edges must increase"),
        (_bins(FIRST.replace("0,1,2", "0;1;2")), "numbers between commas"),
        (_bins(FIRST.replace("0,1,2", "-1,1,2")), "a radius is not negative"),
        (_bins(FIRST.replace('"4"', '"0"')), "n_bin_alpha is 0"),
        (_bins(FIRST.replace('"4"', '"four"')), "whole number for n_bin_alpha"),
        (_bins(FIRST.replace('n_bin_alpha="4"', "")), "n_bin_alpha is missing"),
        (_bins(FIRST.replace('"4"', '"9000000"')), "expected 1 .. 10000000 voxels, found 18000000"),
        (_bins(FIRST, pid="photon"), "whole number for pid"),
        (_bins('<Layer id="0" x_edges="0,1" y_edges="0"/>'), "at least two edges"),
        (_bins(FIRST).replace("pid=", 'threshold="1 keV" pid='), 'a threshold of 0 or more MeV, found "1 keV"'),
        (_bins(FIRST).replace("pid=", 'threshold="nan" pid='), 'a threshold of 0 or more MeV, found "nan"'),
        ("<Bins>" + 2 * _bins(FIRST)[6:-7] + "</Bins>", "choose one of them"),
    ],
)
def test_bad_xml_is_answered_with_a_sentence(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError) as caught:
        read_geometry(_file(tmp_path, text))
    assert words in str(caught.value)
    assert "detector.xml" in str(caught.value)


def test_a_file_of_several_particles_is_read_by_number(tmp_path: Path) -> None:
    other = '<Bin pid="211"><Layer id="0" r_edges="0,5" n_bin_alpha="3"/></Bin></Bins>'
    file = _file(tmp_path, _bins(FIRST)[:-7] + other)
    assert read_geometry(file, 211).n_voxels == 3
    assert resolve_geometry(f"{file}:22", None, 8)[0].pid == 22
    with pytest.raises(DataError, match="particle 13"):
        read_geometry(file, 13)


def test_the_option_wins_over_the_attribute_and_that_over_the_count() -> None:
    own = Geometry("own", (CartesianLayer(0, (0.0, 1.0, 2.0), tuple(map(float, range(253)))),))
    attribute = json.dumps(geometry_to_json(own))
    assert resolve_geometry("calogan", attribute, 504) == (known_geometry("calogan"), "as asked")
    assert resolve_geometry(None, attribute, 504) == (own, "from the file's attribute")
    assert resolve_geometry(None, "ds2", 6480)[0].name == "ds2"
    assert resolve_geometry(None, None, 504) == (known_geometry("calogan"), "from its 504 voxels")
    assert resolve_geometry(own, None, 504)[0] is own


def test_a_file_that_says_nothing_has_the_expected_geometry_and_no_other_is_taken() -> None:
    own = Geometry("own", (CartesianLayer(0, (0.0, 1.0, 2.0), tuple(map(float, range(253)))),))
    assert resolve_geometry(None, None, 504, expected=own) == (own, "as expected")
    renamed = json.dumps(geometry_to_json(replace(own, name="other", threshold=1.0)))
    assert resolve_geometry(None, renamed, 504, expected=own)[0].name == "other"
    with pytest.raises(DataError, match=r"of the geometry calogan .* cells are not those of own"):
        resolve_geometry(None, "calogan", 504, expected=own)
    with pytest.raises(DataError, match=r"has 504 voxels, but each shower has 8; give a file of this geometry"):
        resolve_geometry(None, None, 8, expected=own)


@pytest.mark.parametrize(
    ("option", "attribute", "voxels", "words"),
    [
        ("calogna", None, 504, 'Did you mean "calogan"?'),
        ("ds2", None, 504, "6480 voxels, but each shower has 504"),
        (None, None, 505, "no known geometry has 505 voxels"),
        (None, "../../etc/detector.xml", 504, "unknown geometry"),
        (None, "{", 504, "not readable as JSON"),
        (None, '{"name": "x"}', 504, "does not describe a voxel geometry"),
        ("nowhere.xml", None, 504, "cannot be read"),
    ],
)
def test_geometries_that_cannot_be_found(option: str | None, attribute: str | None, voxels: int, words: str) -> None:
    with pytest.raises(DataError) as caught:
        resolve_geometry(option, attribute, voxels, where="a.h5")
    assert words in str(caught.value)


def test_json_refuses_edges_that_do_not_increase() -> None:
    value = geometry_to_json(Geometry("bad", (PolarLayer(0, (0.0, 2.0, 1.0), 1),)))
    with pytest.raises(DataError, match="edges must increase"):
        geometry_from_json(value)
