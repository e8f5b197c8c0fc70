"""Pictures of cells: the mean shower layer by layer, and single showers."""

from __future__ import annotations

from itertools import product

import matplotlib as mpl
import numpy as np
from matplotlib.collections import QuadMesh
from matplotlib.colors import Colormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import FixedLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray

from ....data_specs.calorimeter.geometry import PolarLayer
from ...figures.style import styled
from .gallery import EXAMPLES, SIDES, Gallery
from .layers import draw_layer

RELEVANT = 1e-3
"""Fraction of its layer's largest mean deposit above which a cell's ratio is drawn; below, it is mostly noise."""


@styled
def average_showers(g: Gallery) -> Figure:
    """Mean deposit of every cell of some layers: reference, generated, and their ratio."""
    geometry, shown = g.extractor.geometry, g.shown
    norm, ratio_norm = _norm(*g.means), LogNorm(0.5, 2)
    diverging = mpl.colormaps["PuOr"].with_extremes(bad="#d9d9d9")
    figure = Figure(figsize=(2.1 * len(shown) + 1.2, 6.6), layout="constrained")
    grid = GridSpec(3, len(shown) + 1, figure=figure, width_ratios=[1] * len(shown) + [0.07])
    for column, k in enumerate(shown):
        layer, part = geometry.layers[geometry.active[k]], geometry.slices[geometry.active[k]]
        reference, generated = (_positive(mean[part]) for mean in g.means)
        ratio = np.where(g.means[0][part] > RELEVANT * g.means[0][part].max(), generated / reference, np.nan)
        for row, (values, scale, cmap) in enumerate(
            ((reference, norm, _viridis()), (generated, norm, _viridis()), (ratio, ratio_norm, diverging))
        ):
            polar = isinstance(layer, PolarLayer)
            axes = figure.add_subplot(grid[row, column], projection="polar" if polar else None)
            mesh = draw_layer(axes, layer, values, scale, cmap)
            if row == 0:
                axes.set_title(g.layer_name(k))
            if polar:
                if column == 0:
                    axes.set_ylabel(("reference", "generated", "ratio")[row], labelpad=14)
            else:
                axes.set_xlabel("x [mm]" if row == 2 else "")
                axes.set_ylabel(f"{('reference', 'generated', 'ratio')[row]}\ny [mm]" if column == 0 else "")
                axes.tick_params(labelbottom=row == 2, labelleft=column == 0)
            if column == len(shown) - 1 and row == 0:
                figure.colorbar(mesh, cax=figure.add_subplot(grid[:2, -1]), label="mean deposit per voxel [MeV]")
            if column == len(shown) - 1 and row == 2:
                bar = figure.colorbar(mesh, cax=figure.add_subplot(grid[2, -1]), label="gen. / ref.", extend="both")
                bar.ax.yaxis.set_major_locator(FixedLocator([0.5, 0.7, 1, 1.4, 2]))
                bar.ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
                bar.ax.yaxis.set_minor_formatter(NullFormatter())
    radius = (
        ""
        if not isinstance(geometry.layers[geometry.active[0]], PolarLayer)
        else f"; radius {g.extractor.rings[-1]:g} mm"
    )
    figure.suptitle(f"Mean shower: {g.labels[0]}, {g.labels[1]}{radius}", fontsize=9)
    return figure


@styled
def examples(g: Gallery) -> Figure:
    """Single showers of similar energy: all layers if few, else energy in depth and radius."""
    draw = _example_layers if g.few_layers else _example_maps
    figure = draw(g)
    figure.suptitle(f"Single showers of {g.labels[0]} and {g.labels[1]}", fontsize=9)
    return figure


def _example_layers(g: Gallery) -> Figure:
    geometry = g.extractor.geometry
    layers = [(geometry.layers[i], geometry.slices[i]) for i in geometry.active]
    norm, columns = _norm(*g.examples), len(layers)
    figure = Figure(figsize=(4.2 * columns, 1.9 * EXAMPLES), layout="constrained")
    grid = GridSpec(EXAMPLES, 2 * columns + 1, figure=figure, width_ratios=[1] * 2 * columns + [0.06])
    mesh = None
    for row, side, (k, (layer, part)) in product(range(EXAMPLES), range(2), enumerate(layers)):
        polar = isinstance(layer, PolarLayer)
        axes = figure.add_subplot(grid[row, side * columns + k], projection="polar" if polar else None)
        mesh = draw_layer(axes, layer, _positive(g.examples[side][row, part]), norm, _viridis())
        axes.set_xticks([])
        axes.set_yticks([])
        if k == 0:
            axes.set_ylabel(f"{SIDES[side]}\n{g.energies[side][row] / 1e3:.2f} GeV", labelpad=14 if polar else 4)
        if row == 0:
            axes.set_title(g.layer_name(k))
        if row == EXAMPLES - 1 and not isinstance(layer, PolarLayer):
            axes.set_xlabel(f"x, y: {layer.x_edges[0]:g} to {layer.x_edges[-1]:g} mm", fontsize=7)
    figure.colorbar(_known(mesh), cax=figure.add_subplot(grid[:, -1]), label="deposit per voxel [MeV]")
    return figure


def _example_maps(g: Gallery) -> Figure:
    maps = [[g.extractor.depth_and_radius(shower) for shower in side] for side in g.examples]
    norm = _norm(*maps[0], *maps[1])
    figure = Figure(figsize=(2.4 * EXAMPLES + 1, 4.6), layout="constrained")
    grid = GridSpec(2, EXAMPLES + 1, figure=figure, width_ratios=[1] * EXAMPLES + [0.06])
    mesh = None
    for side, column in product(range(2), range(EXAMPLES)):
        axes = figure.add_subplot(grid[side, column])
        values = maps[side][column]
        edges = np.arange(len(values) + 1)
        mesh = axes.pcolormesh(
            edges, g.extractor.rings, _positive(values).T, norm=norm, cmap=_viridis(), rasterized=True
        )
        axes.set_title(f"{SIDES[side]}, {g.energies[side][column] / 1e3:.2f} GeV", loc="left")
        axes.set_xlabel("layer" if side else "")
        axes.set_ylabel("r [mm]" if column == 0 else "")
        axes.tick_params(labelbottom=bool(side), labelleft=column == 0)
    figure.colorbar(_known(mesh), cax=figure.add_subplot(grid[:, -1]), label="deposit per ring and layer [MeV]")
    return figure


def _norm(*values: NDArray) -> LogNorm:
    """Logarithmic colours from the smallest deposit, at most five decades below the largest."""
    deposits = np.concatenate([value[value > 0] for value in values])
    high = deposits.max() if len(deposits) else 1.0
    low = max(deposits.min(), high * 1e-5) if len(deposits) else 0.1
    return LogNorm(low, max(high, 2 * low))


def _positive(values: NDArray) -> NDArray:
    return np.where(values > 0, values, np.nan)


def _viridis() -> Colormap:
    return mpl.colormaps["viridis"].with_extremes(bad="white")


def _known(mesh: QuadMesh | None) -> QuadMesh:
    assert mesh is not None, "a figure of no panels"
    return mesh
