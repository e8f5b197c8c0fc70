"""Exact symmetries of a geometry under normal incidence, as permutations of its voxels.

Rectangular layers allow the four reflections of x and y; rings and sectors allow rotations by whole sectors, each
with or without a reflection (32 maps for 16 sectors). Layers of one sector are their own image.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import gcd

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ....core.data import Batch
from ....core.noise import Noise
from ....data_specs.calorimeter.geometry import CartesianLayer, Geometry, Layer

Indices = NDArray[np.int64]


def symmetries(geometry: Geometry) -> Tensor:
    """Permutations (S, n_voxels), int64: `showers[:, table[s]]` are the images under map s; map 0 is the identity."""
    layers = [geometry.layers[i] for i in geometry.active]
    starts = [geometry.slices[i].start for i in geometry.active]
    grids = [start + np.arange(layer.n_voxels).reshape(layer.grid) for start, layer in zip(starts, layers, strict=True)]
    sectors = gcd(*(layer.n_alpha for layer in layers if not isinstance(layer, CartesianLayer) and layer.n_alpha > 1))
    mirrors = [(0, 1)] * 2 if _mirrored(layers) else [(0,)] * 2
    maps = product(range(max(sectors, 1)), *mirrors)
    images = [
        np.concatenate(
            [_image(layer, grid, turn, flips, sectors).ravel() for layer, grid in zip(layers, grids, strict=True)]
        )
        for turn, *flips in maps
    ]
    return torch.from_numpy(np.unique(np.stack(images), axis=0)).long()


def _mirrored(layers: list[Layer]) -> bool:
    """Whether every rectangular layer looks the same from both sides of each axis."""
    edges = [edges for layer in layers if isinstance(layer, CartesianLayer) for edges in (layer.x_edges, layer.y_edges)]
    return all(np.allclose(side, -np.asarray(side)[::-1]) for side in edges)


def _image(layer: Layer, grid: Indices, turn: int, flips: Sequence[int], sectors: int) -> Indices:
    if isinstance(layer, CartesianLayer):
        return grid[:: -1 if flips[0] else 1, :: -1 if flips[1] else 1]
    if layer.n_alpha == 1:
        return grid
    # two reflections are a half turn; for an odd number of sectors only one of them maps sectors to sectors
    turned = np.roll(grid, turn * (layer.n_alpha // sectors), axis=0)
    return turned[:: -1 if flips[0] else 1]


class RandomSymmetry(nn.Module):
    """Replaces each shower of a batch by a random symmetric image of itself."""

    table: Tensor

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        self.register_buffer("table", symmetries(geometry), persistent=False)

    def forward(self, batch: Batch, noise: Noise) -> Batch:
        choice = (noise.uniform("map") * len(self.table)).long()
        assert isinstance(batch.x, Tensor)
        return Batch(batch.x.gather(1, self.table[choice]), batch.condition, batch.index)
