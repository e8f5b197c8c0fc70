"""Depth of the maximum and radius of containment, and which geometries resolve them."""

from dataclasses import replace

import numpy as np
import pytest
from maquette.data_specs.calorimeter.geometries import known_geometry
from maquette.data_specs.calorimeter.geometry import CartesianLayer, Geometry, Medium, PolarLayer
from maquette.domains.calorimeter.metrics.profiles import containment_radius, depths, resolves_radius, shower_maximum

CALOGAN = known_geometry("calogan")


def test_shower_maximum_of_a_gamma_function() -> None:
    edges = np.linspace(0, 25, 46)
    t = np.linspace(0, 25, 45 * 200 + 1)
    fine = t**3.5 * np.exp(-0.5 * t)
    middle = (fine[1:] + fine[:-1]) / 2
    assert shower_maximum(middle.reshape(45, -1).sum(1), edges) == pytest.approx(7.0, abs=0.01)


def test_containment_radius_interpolates() -> None:
    assert containment_radius([8, 1, 1], [0, 1, 2, 3]) == pytest.approx(2.0)
    assert containment_radius([1, 1], [0, 10, 20], fraction=0.75) == pytest.approx(15)


@pytest.mark.parametrize("energy", [np.zeros(5), [0, 3, 0, 0, 0]])
def test_profiles_that_have_no_shape_are_not_measured(energy: np.ndarray) -> None:
    assert np.isnan(shower_maximum(energy, np.arange(6)))
    assert np.isnan(containment_radius(energy, np.arange(6))) == (not np.any(energy))


def test_only_fine_geometries_measure_depth_and_radius() -> None:
    assert depths(CALOGAN) is None
    assert not resolves_radius(CALOGAN)
    edges = depths(known_geometry("ds2"))
    assert edges is not None
    assert len(edges) == 46
    assert resolves_radius(known_geometry("ds2"))


@pytest.mark.parametrize(
    ("layers", "step", "deep", "wide"),
    [(10, 0.49, True, True), (9, 0.49, False, False), (10, 0.51, True, False), (45, 1.0, True, False)],
)
def test_ten_layers_and_cells_under_half_a_moliere_radius(layers: int, step: float, deep: bool, wide: bool) -> None:
    """The coarsest cell decides, in whatever layer and direction it lies."""
    fine, coarse = (0.0, 2.0, 4.0), (0.0, 2.0, 2.0 + 20 * step)
    stacks = (
        [PolarLayer(k, coarse if k == 3 else fine, 4) for k in range(layers)],
        [CartesianLayer(k, fine, coarse if k == 3 else fine) for k in range(layers)],
    )
    for stack in stacks:
        geometry = Geometry("stack", tuple(stack), medium=Medium(10.0, 20.0, layer_depth=5.0))
        assert (depths(geometry) is not None) == deep
        assert resolves_radius(geometry) == wide
        assert not resolves_radius(replace(geometry, medium=None))
