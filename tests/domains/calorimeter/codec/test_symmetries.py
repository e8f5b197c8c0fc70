"""Symmetries of a geometry: isometries of the whole stack, drawn by shower."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from maquette.core.noise import KeyedNoise
from maquette.data_specs.calorimeter.geometries import known_geometry
from maquette.data_specs.calorimeter.geometry import CartesianLayer, Geometry, PolarLayer
from maquette.domains.calorimeter.codec.symmetries import RandomSymmetry, symmetries
from small_stacks import MIXED, RINGS, showers

SQUARES = CartesianLayer(0, (-2.0, -1.0, 0.0, 1.0, 2.0), (-3.0, -1.0, 1.0, 3.0))
SECTORS = PolarLayer(1, (0.0, 1.0, 2.0), 16)


@pytest.mark.parametrize(
    ("geometry", "number"),
    [
        (known_geometry("calogan"), 4),
        (known_geometry("ds1-photons"), 20),
        (known_geometry("ds2"), 32),
        (RINGS, 8),
        (MIXED, 2),  # three sectors have no half turn
        (Geometry("both", (SQUARES, SECTORS)), 4),
        (Geometry("lopsided", (replace(SQUARES, x_edges=(-1.0, 0.0, 3.0)), SECTORS)), 2),
        (Geometry("lopsided in both", (replace(SQUARES, x_edges=(0.0, 1.0, 3.0), y_edges=(0.0, 1.0)), SECTORS)), 1),
        (Geometry("few sectors", (SECTORS, PolarLayer(2, (0.0, 1.0), 10))), 4),
    ],
    ids=lambda value: value.name if isinstance(value, Geometry) else str(value),
)
def test_symmetries_are_isometries_of_the_whole_stack(geometry: Geometry, number: int) -> None:
    """One orthogonal map of the plane moves the energy-weighted centroids of all layers; the maps form a group."""
    table = symmetries(geometry)
    assert len(table) == number
    assert (table[0] == torch.arange(geometry.n_voxels)).all()
    members = {tuple(row.tolist()) for row in table}
    assert all(tuple(a[b].tolist()) in members for a in table for b in table)
    x = torch.rand(20, geometry.n_voxels, dtype=torch.float64)
    before = centroids(geometry, x)
    for row in table:
        after = centroids(geometry, x[:, row])
        u, _, v = torch.linalg.svd(before.T @ after)
        torch.testing.assert_close(after, before @ (u @ v))  # the orthogonal map that comes nearest


def centroids(geometry: Geometry, x: torch.Tensor) -> torch.Tensor:
    """(x, y) of the centre of energy of each shower (n, voxels) in each layer that has directions, (n * layers, 2)."""
    found = []
    for i in geometry.active:
        layer, part = geometry.layers[i], x[:, geometry.slices[i]]
        if isinstance(layer, CartesianLayer) or layer.n_alpha > 1:
            found.append(part @ torch.from_numpy(np.stack(layer.centers, axis=1)) / part.sum(1, keepdim=True))
    return torch.cat(found)


def test_random_images_are_keyed_by_shower() -> None:
    source = showers(RINGS, 64)
    batch = source.fetch(torch.arange(64))
    image = RandomSymmetry(RINGS)(batch, KeyedNoise(2, batch.index))
    alone = source.fetch(torch.tensor([7]))
    again = RandomSymmetry(RINGS)(alone, KeyedNoise(2, alone.index))
    assert (image.x[7] == again.x[0]).all()
    torch.testing.assert_close(image.x.sum(1), batch.x.sum(1))
