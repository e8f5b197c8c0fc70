"""The tables of docs/calorimeter.md agree with the code, and recipes start with what to expect of them."""

import re
from itertools import takewhile

import pytest
from maquette.data_specs.calorimeter.geometries import NAMES, known_geometry
from maquette.domains.calorimeter.evaluate import evaluate
from maquette.domains.calorimeter.metrics.effort import EFFORTS, ShowerEffort
from maquette.domains.calorimeter.plugin import CALORIMETER

SMALLEST = ShowerEffort(
    showers=120,
    classifier=40,
    epochs=1,
    trees=2,
    cross_validate_below=0,
    frechet_points=2,
    frechet_batches=2,
    kernel_batches=1,
    neighbours=20,
)


@pytest.fixture(scope="module")
def tables(root) -> dict[str, dict[str, list[str]]]:
    """The page's tables: by the heading of the first column, then by the first cell of a row."""
    text = (root / "docs" / "calorimeter.md").read_text(encoding="utf-8")
    found: dict[str, dict[str, list[str]]] = {}
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in block.splitlines()]
        found[rows[0][0]] = {row[0]: row[1:] for row in rows[2:]}
    return found


def test_metrics(tables):
    data = CALORIMETER.open(CALORIMETER.sample_path(), {})
    evaluation = evaluate(data.rows(0, 120), data.rows(120, 240), data.geometry, effort=SMALLEST)
    listed = {name: (unit, better) for name, (unit, better, _) in tables["metric"].items()}
    assert listed == {name: (one.unit, one.better) for name, one in evaluation.estimates.items()}


def test_geometries(tables):
    known = {name: known_geometry(name) for name in NAMES}
    assert {name: [float(cell) for cell in row] for name, row in tables["geometry"].items()} == {
        name: [one.n_voxels, len(one.active), one.threshold] for name, one in known.items()
    }


def test_recipes(tables):
    assert set(tables["recipe"]) == set(CALORIMETER.recipes())


@pytest.mark.parametrize("name", CALORIMETER.recipes())
def test_a_recipe_starts_with_purpose_command_hardware_and_expected_figure(name):
    lines = CALORIMETER.recipes()[name].read_text(encoding="utf-8").splitlines()
    header = list(takewhile(lambda line: line.startswith("#"), lines))
    assert [line.split(":")[0] for line in header[1:]] == ["# Command", "# Hardware", "# Expected"]


def test_efforts(tables):
    listed = {name: [int(cell.replace(",", "")) for cell in row] for name, row in tables["--effort"].items()}
    assert listed == {name: [one.showers, one.classifier, one.epochs] for name, one in EFFORTS.items()}
