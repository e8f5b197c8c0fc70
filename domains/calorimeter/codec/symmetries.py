"""Exact symmetries of a geometry under normal incidence, as permutations of its voxels.

A symmetry is one isometry of the transverse plane that maps the cells of every layer onto cells: a rotation around
the axis, then possibly the reflection y -> -y. Rings and sectors allow rotations by whole sectors (32 maps for 16
sectors), rectangular cells half a turn (4 maps, the reflections of x and y). A stack allows what all its layers allow;
layers of one sector are invariant.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import gcd

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ....core.data import Batch
from ....core.noise import Noise
from ....data_specs.calorimeter.geometry import CartesianLayer, Geometry, Layer
from ..batches import deposits

Indices = NDArray[np.int64]


def symmetries(geometry: Geometry) -> Tensor:
    """Permutations (S, n_voxels), int64: `showers[:, table[s]]` are the images under map s; map 0 is the identity.

    >>> from maquette.data_specs.calorimeter.geometries import known_geometry
    >>> symmetries(known_geometry("calogan")).shape
    torch.Size([4, 504])
    """
    layers = [(geometry.layers[i], geometry.slices[i].start) for i in geometry.active]
    turns = gcd(*(order for layer, _ in layers if (order := _order(layer)) > 1)) or 1
    maps = []
    for turn, mirror in product(range(turns), (False, True)):
        images = [(start, _image(layer, Fraction(turn, turns), mirror)) for layer, start in layers]
        parts = [start + image.ravel() for start, image in images if image is not None]
        if len(parts) == len(layers):
            maps.append(np.concatenate(parts))
    return torch.from_numpy(np.unique(np.stack(maps), axis=0)).long()


def _order(layer: Layer) -> int:
    """How many rotations around the axis map the layer's grid onto itself; 1 where every rotation does."""
    return 2 if isinstance(layer, CartesianLayer) else layer.n_alpha


def _image(layer: Layer, turn: Fraction, mirror: bool) -> Indices | None:
    """Cells of the layer, in its grid, after a fraction of a turn and possibly y -> -y; None if that is no map."""
    cells = np.arange(layer.n_voxels).reshape(layer.grid)
    if isinstance(layer, CartesianLayer):
        half = turn != 0  # half a turn, the only one, reflects both axes
        reflected = {0: half, 1: half != mirror}
        for axis, edges in enumerate((layer.x_edges, layer.y_edges)):
            if reflected[axis]:
                if not np.allclose(edges, -np.asarray(edges)[::-1]):
                    return None
                cells = np.flip(cells, axis)
        return cells
    if layer.n_alpha == 1:
        return cells
    turned = np.roll(cells, int(turn * layer.n_alpha), axis=0)
    return turned[::-1] if mirror else turned


class RandomSymmetry(nn.Module):
    """Replaces each shower of a batch by a random symmetric image of itself.

    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.data_specs.calorimeter.geometries import known_geometry
    >>> symmetry = RandomSymmetry(known_geometry("ds2"))
    >>> symmetry
    RandomSymmetry(symmetries=32)
    >>> batch = Batch(torch.rand(4, 6480), None, torch.arange(4))
    >>> moved = symmetry(batch, KeyedNoise(0, batch.index))
    >>> torch.allclose(moved.x.sum(1), batch.x.sum(1))
    True
    """

    table: Tensor

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        self.register_buffer("table", symmetries(geometry), persistent=False)

    def extra_repr(self) -> str:
        return f"symmetries={len(self.table)}"

    def forward(self, batch: Batch, noise: Noise) -> Batch:
        choice = (noise.uniform("map") * len(self.table)).long()
        return Batch(deposits(batch.x).gather(1, self.table[choice]), batch.condition, batch.index)
