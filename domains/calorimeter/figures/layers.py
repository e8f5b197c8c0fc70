"""Drawing of layers of cells."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize
from numpy.typing import NDArray

from ....data_specs.calorimeter.geometry import Layer, PolarLayer


def draw_layer(axes: Axes, layer: Layer, values: NDArray, norm: Normalize, cmap: Any) -> QuadMesh:
    """Cells of one layer: an image in x and y, or a disc in a polar panel.

    >>> from matplotlib.colors import LogNorm
    >>> from matplotlib.figure import Figure
    >>> layer = PolarLayer(id=0, r_edges=(0.0, 10.0, 20.0), n_alpha=4)
    >>> axes = Figure().add_subplot(projection="polar")
    >>> mesh = draw_layer(axes, layer, np.arange(1.0, 9.0), LogNorm(1, 8), "viridis")
    >>> round(axes.get_rmax()), mesh.get_array().shape  # mm; sectors are drawn as many straight pieces
    (20, (2, 64))
    """
    grid = np.ma.masked_invalid(np.asarray(values, dtype=np.float64).reshape(layer.grid))
    if isinstance(layer, PolarLayer):
        repeat = -(-64 // layer.n_alpha)  # sectors are drawn as straight pieces; enough of them look round
        angles = np.linspace(0, 2 * np.pi, layer.n_alpha * repeat + 1)
        mesh = axes.pcolormesh(
            angles, np.asarray(layer.r_edges), np.ma.repeat(grid, repeat, axis=0).T, norm=norm, cmap=cmap
        )
        axes.set_xticks([])
        axes.set_yticks([])
    else:
        mesh = axes.pcolormesh(layer.x_edges, layer.y_edges, grid.T, norm=norm, cmap=cmap)
        axes.set_aspect("equal")
    mesh.set_rasterized(True)
    return mesh
