"""Drawing of histograms with ratio panels, and of layers of cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from numpy.typing import ArrayLike, NDArray

from ....data_specs.calorimeter.geometry import Layer, PolarLayer

P = ParamSpec("P")
REFERENCE, GENERATED, THIRD = "#4d4d4d", "#d55e00", "#0072b2"
"""Grey, vermilion and blue of Okabe & Ito: distinguishable with every kind of colour vision, and in print."""
RATIO = (0.5, 1.5)
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "figure.dpi": 110,
}


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in the package's style, without changing matplotlib's global settings.

    >>> @styled
    ... def empty() -> Figure:
    ...     return Figure()
    >>> empty().dpi  # that of `STYLE`
    110.0
    """

    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    wrapped.__name__, wrapped.__doc__ = draw.__name__, draw.__doc__
    return wrapped


@dataclass(frozen=True)
class Curve:
    """A quantity per bin with its standard error; each shape (bins,).

    >>> Curve(np.array([2.0, 3.0]), np.array([0.2, 0.3])).over(Curve(np.array([1.0, 0.0]), np.array([0.0, 0.0])))
    Curve(value=array([ 2., nan]), error=array([0.2, nan]))
    """

    value: NDArray[np.float64]
    error: NDArray[np.float64]

    def over(self, other: Curve) -> Curve:
        """Their ratio, errors propagated as independent; NaN where the other is 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = self.value / other.value
            relative = np.hypot(self.error / self.value, other.error / other.value)
            error = np.where(self.value == 0, self.error / other.value, np.abs(ratio) * relative)
        known = np.isfinite(ratio)
        return Curve(np.where(known, ratio, np.nan), np.where(known, error, np.nan))


def density(values: ArrayLike, edges: NDArray[np.float64]) -> Curve:
    """Probability density of values with its Poisson error.

    >>> density([0.5, 1.5, 1.5, 1.5], np.array([0.0, 1.0, 2.0])).value
    array([0.25, 0.75])
    """
    counts = np.histogram(np.asarray(values), edges)[0].astype(np.float64)
    norm = np.diff(edges) * max(np.size(values), 1)
    return Curve(counts / norm, np.sqrt(counts) / norm)


def with_ratio(figure: Figure, rows: int, columns: int) -> Iterator[tuple[Axes, Axes]]:
    """Pairs (panel, ratio panel below it, on the same x axis), row by row."""
    grid = GridSpec(2 * rows, columns, figure=figure, height_ratios=[3, 1] * rows)
    for row in range(rows):
        for column in range(columns):
            upper = figure.add_subplot(grid[2 * row, column])
            lower = figure.add_subplot(grid[2 * row + 1, column], sharex=upper)
            upper.tick_params(labelbottom=False)
            yield upper, lower


def draw_pair(
    axes: tuple[Axes, Axes],
    edges: NDArray[np.float64],
    reference: Curve,
    generated: Curve,
    *,
    x: str,
    y: str,
    logarithmic: bool = False,
    labels: tuple[str, str] = ("reference", "generated"),
) -> None:
    """Two step curves with error bands, and generated / reference with error bars below; label axes with units.

    >>> figure, edges = Figure(), np.linspace(0.0, 1.0, 3)
    >>> ((upper, lower),) = with_ratio(figure, rows=1, columns=1)
    >>> curves = density([0.2, 0.7], edges), density([0.3, 0.6], edges)
    >>> draw_pair((upper, lower), edges, *curves, x="E [MeV]", y="density [1 / MeV]")
    >>> lower.get_xlabel(), lower.get_ylabel()
    ('E [MeV]', 'gen. / ref.')
    """
    upper, lower = axes
    for curve, colour, label in ((reference, REFERENCE, labels[0]), (generated, GENERATED, labels[1])):
        upper.stairs(curve.value, edges, color=colour, lw=1.3, label=label)
        low = curve.value - curve.error
        if logarithmic:  # an error as large as its value would extend to minus infinity
            low = np.maximum(low, curve.value / 10)
        upper.stairs(curve.value + curve.error, edges, baseline=low, color=colour, alpha=0.25, fill=True, lw=0)
    positive = reference.value[reference.value > 0]
    if logarithmic and len(positive):
        upper.set_yscale("log")
        upper.set_ylim(positive.min() / 3, positive.max() * 3)
    else:
        upper.set_ylim(bottom=0)
    upper.set_ylabel(y)
    _draw_ratio(lower, edges, generated.over(reference))
    lower.set_xlabel(x)
    lower.set_xlim(edges[0], edges[-1])


def _draw_ratio(axes: Axes, edges: NDArray[np.float64], ratio: Curve) -> None:
    """Points with error bars about 1; points outside the panel are marked by a triangle at its edge."""
    middle, low, high = (edges[1:] + edges[:-1]) / 2, *RATIO
    inside = (ratio.value >= low) & (ratio.value <= high)
    axes.axhline(1, color=REFERENCE, lw=0.8)
    axes.errorbar(middle[inside], ratio.value[inside], ratio.error[inside], fmt=".", ms=3, lw=0.8, color=GENERATED)
    for beyond, at, marker in ((ratio.value < low, low, "v"), (ratio.value > high, high, "^")):
        if beyond.any():  # an empty unclipped line breaks the layout
            axes.plot(middle[beyond], np.full(beyond.sum(), at), marker, ms=3, color=GENERATED, clip_on=False)
    axes.set_ylim(low, high)
    axes.set_ylabel("gen. / ref.")


def draw_layer(axes: Axes, layer: Layer, values: NDArray, norm: Normalize, cmap: Any) -> QuadMesh:
    """Cells of one layer: an image in x and y, or a disc in a polar panel.

    >>> from matplotlib.colors import LogNorm
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
