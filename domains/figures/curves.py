"""Quantities per bin with their errors, and panels of two of them with their ratio."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from numpy.typing import ArrayLike, NDArray

from .style import GENERATED, REFERENCE

RATIO = (0.5, 1.5)
"""Limits of a ratio panel; points beyond them are marked at its edge."""


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
