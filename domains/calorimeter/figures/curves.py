"""Curves with ratio panels: profiles, spectra, linearity and resolution, and ROC curves."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray

from ....core.statistics.auc import roc_curve
from ....core.statistics.histogram import BULK
from ...figures.curves import Curve, density, draw_pair, with_ratio
from ...figures.style import GENERATED, REFERENCE, THIRD, styled
from ..metrics.response import energy_edges
from .gallery import Array, Gallery

BINS = 40


@styled
def longitudinal_profile(g: Gallery) -> Figure:
    """Mean energy against depth."""
    geometry = g.extractor.geometry
    figure = Figure(figsize=(5.4, 4.2), layout="constrained")
    ((upper, lower),) = with_ratio(figure, 1, 1)
    edges = geometry.depth_edges
    whole = len(geometry.active) == len(geometry.layers)
    if edges is not None and geometry.medium is not None and whole:
        depth = edges / geometry.medium.radiation_length
        scale, x, y = 1 / np.diff(depth), "depth $t$ [$X_0$]", "mean energy d$E$/d$t$ [MeV / $X_0$]"
    else:
        depth, scale = np.arange(len(geometry.active) + 1.0) - 0.5, np.ones(len(geometry.active))
        x, y = "layer with cells, by depth", "mean energy per layer [MeV]"
    curves = [_mean_curve(f.layer, scale) for f in (g.reference, g.generated)]
    draw_pair((upper, lower), depth, *curves, x=x, y=y, labels=g.labels, logarithmic=True)
    upper.legend()
    return figure


@styled
def radial_profile(g: Gallery) -> Figure:
    """Mean energy against the distance of the cells from the axis."""
    figure = Figure(figsize=(5.4, 4.2), layout="constrained")
    ((upper, lower),) = with_ratio(figure, 1, 1)
    curves = [_mean_curve(f.radial) for f in (g.reference, g.generated)]
    x, y = "distance of the cell's centre from the axis [mm]", "mean energy per ring [MeV]"
    draw_pair((upper, lower), g.extractor.rings, *curves, x=x, y=y, labels=g.labels, logarithmic=True)
    upper.legend()
    return figure


@styled
def response(g: Gallery) -> Figure:
    """Spectrum of E_total / E_incident and of E_total."""
    figure = Figure(figsize=(8.6, 4.2), layout="constrained")
    pairs = list(with_ratio(figure, 1, 2))
    panels = (
        (g.reference.response, g.generated.response, "$E_{total} / E_{incident}$", "probability density", False),
        (g.reference.total / 1e3, g.generated.total / 1e3, "$E_{total}$ [GeV]", "probability density [1 / GeV]", True),
    )
    for axes, (reference, generated, x, y, logarithmic) in zip(pairs, panels, strict=True):
        edges = _bulk(reference)
        curves = [density(values, edges) for values in (reference, generated)]
        draw_pair(axes, edges, *curves, x=x, y=y, labels=g.labels, logarithmic=logarithmic)
    _legend_above(figure, g)
    return figure


@styled
def layer_energies(g: Gallery) -> Figure:
    """Spectra of layer energies over the incident energy, with the fraction of empty layers."""
    shown = g.shown
    figure = Figure(figsize=(2.9 * len(shown), 4.2), layout="constrained")
    for (upper, lower), k in zip(with_ratio(figure, 1, len(shown)), shown, strict=True):
        sides = [f.layer[:, k] / f.incident for f in (g.reference, g.generated)]
        edges = _bulk(sides[0][sides[0] > 0] if (sides[0] > 0).any() else sides[0])
        curves = [density(values, edges) for values in sides]
        name = g.layer_name(k)
        draw_pair(
            (upper, lower),
            edges,
            *curves,
            x=f"$E$ in {name} / $E_{{incident}}$",
            y="probability density",
            logarithmic=True,
        )
        empty = " / ".join(f"{(values <= 0).mean():.1%}" for values in sides)
        upper.set_title(f"{name}, empty: {empty}", loc="left")
    _legend_above(figure, g)
    return figure


@styled
def shapes(g: Gallery) -> Figure:
    """Centroids and widths in the layer with most energy (and angular cells)."""
    energy = g.reference.layer.mean(0, dtype=np.float64)
    angular = list(g.extractor.angular)
    k = max(angular, key=lambda i: energy[i]) if angular else int(energy.argmax())
    axes_shown = (("eta", r"\eta"), ("phi", r"\phi"), ("r", "r")) if angular else (("r", "r"),)
    figure = Figure(figsize=(3.2 * len(axes_shown), 7.4), layout="constrained")
    pairs = iter(list(with_ratio(figure, 2, len(axes_shown))))
    for prefix, what in (("", "centroid"), ("width_", "width")):
        for name, symbol in axes_shown:
            reference, generated = (
                getattr(f, f"{prefix}{name}")[:, k][f.layer[:, k] > 0] for f in (g.reference, g.generated)
            )
            edges = _bulk(reference)
            curves = [density(values, edges) for values in (reference, generated)]
            label = f"{what} in ${symbol}$, {g.layer_name(k)} [mm]"
            draw_pair(next(pairs), edges, *curves, x=label, y="probability density [1 / mm]", logarithmic=True)
    _legend_above(figure, g)
    return figure


@styled
def voxels(g: Gallery) -> Figure:
    """Sparsity over all layers, and the spectrum of the deposits."""
    figure = Figure(figsize=(8.6, 4.2), layout="constrained")
    pairs = list(with_ratio(figure, 1, 2))
    cells = np.array([g.extractor.geometry.layers[i].n_voxels for i in g.extractor.geometry.active])
    sides = [f.sparsity @ (cells / cells.sum()) for f in (g.reference, g.generated)]
    edges = _bulk(sides[0])
    draw_pair(
        pairs[0],
        edges,
        *(density(values, edges) for values in sides),
        x="sparsity (fraction of voxels below threshold)",
        y="probability density",
        labels=g.labels,
    )
    binning = g.extractor.spectrum
    step = float((binning.high[0] - binning.low[0]) / binning.bins)
    spectra = []
    for f in (g.reference, g.generated):
        counts = f.spectrum[:, 1:-1].sum(0, dtype=np.float64)
        spectra.append(Curve(counts / len(f) / step, np.sqrt(counts) / len(f) / step))
    draw_pair(
        pairs[1],
        binning.edges[0],
        *spectra,
        x=r"$\log_{10}$ (deposit / MeV)",
        y=r"voxels per shower and unit of $\log_{10}$",
        logarithmic=True,
    )
    _legend_above(figure, g)
    return figure


@styled
def resolution(g: Gallery) -> Figure:
    """Linearity and resolution of E_total / E_incident against incident energy."""
    edges = energy_edges(g.reference.incident)
    figure = Figure(figsize=(8.6, 4.2), layout="constrained")
    pairs = list(with_ratio(figure, 1, 2))
    linear, resolved = [], []
    for f in (g.reference, g.generated):
        which = np.clip(np.searchsorted(edges, f.incident, side="right") - 1, 0, len(edges) - 2)
        groups = [f.response[which == b] for b in range(len(edges) - 1)]
        n = np.array([max(len(group), 1) for group in groups])
        mean = np.array([group.mean() if len(group) else np.nan for group in groups])
        sigma = np.array([group.std() if len(group) > 1 else np.nan for group in groups])
        linear.append(Curve(mean, sigma / np.sqrt(n)))
        spread = 100 * sigma / np.where(mean > 0, mean, np.nan)
        resolved.append(Curve(spread, spread / np.sqrt(2 * n)))
    x = "$E_{incident}$ [GeV]"
    for axes, curves, y, spread in (
        (pairs[0], linear, r"mean $E_{total} / E_{incident}$", 0.01),
        (pairs[1], resolved, r"resolution $\sigma$ / mean [%]", 0.5),
    ):
        _points(axes, edges / 1e3, curves[0], curves[1], x=x, y=y, labels=g.labels, spread=spread)
    _legend_above(figure, g)
    return figure


def _points(
    axes: tuple[Axes, Axes],
    edges: Array,
    reference: Curve,
    generated: Curve,
    *,
    x: str,
    y: str,
    labels: tuple[str, str],
    spread: float,
) -> None:
    upper, lower = axes
    middle = np.sqrt(edges[1:] * edges[:-1])
    ratio = generated.over(reference)
    for curve, colour, label, marker in (
        (reference, REFERENCE, labels[0], "o"),
        (generated, GENERATED, labels[1], "s"),
    ):
        upper.errorbar(middle, curve.value, curve.error, fmt=marker, ms=4, lw=1, color=colour, label=label)
    lower.axhline(1, color=REFERENCE, lw=0.8)
    lower.errorbar(middle, ratio.value, ratio.error, fmt="s", ms=3, lw=0.8, color=GENERATED)
    known = np.isfinite(ratio.value)
    limit = max(spread, 1.3 * np.max(np.abs(ratio.value[known] - 1) + ratio.error[known])) if known.any() else spread
    lower.set_ylim(max(1 - limit, 0), 1 + limit)
    upper.set_xscale("log")
    upper.set_xlim(edges[0] * 0.93, edges[-1] * 1.07)
    ticks = [
        tick
        for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
        if edges[0] <= tick * 1.01 and tick <= edges[-1] * 1.01
    ]
    lower.xaxis.set_major_locator(FixedLocator(ticks))
    lower.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    lower.xaxis.set_minor_formatter(NullFormatter())
    upper.set_ylabel(y)
    lower.set_ylabel("gen. / ref.")
    lower.set_xlabel(x)


@styled
def classifiers(g: Gallery) -> Figure:
    """ROC curves of the classifiers that separate generated from reference showers."""
    figure = Figure(figsize=(4.6, 5.2), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="#999999", lw=0.8, ls=":", label="chance: AUC 0.5")
    names = {
        "low": "network, voxels",
        "high": "network, high-level features",
        "trees": "boosted trees, high-level features",
    }
    for (kind, test), colour, style in zip(
        g.curves.items(), (THIRD, GENERATED, REFERENCE), ("-", "--", "-."), strict=False
    ):
        label = f"{names.get(kind, kind)}: AUC {test.auc:.3f} ± {test.auc_stderr:.3f} (n = {test.n:,} a side)"
        axes.plot(*roc_curve(test.scores, test.labels), color=colour, ls=style, lw=1.3, label=label)
    axes.set_xlabel("generated showers taken for reference [fraction]")
    axes.set_ylabel("reference showers taken for reference [fraction]")
    axes.set_aspect("equal")
    figure.legend(loc="outside lower center", fontsize=7)
    return figure


def _bulk(values: NDArray) -> Array:
    """Bin edges over the bulk of the reference."""
    low, high = np.percentile(values, BULK) if len(values) else (0.0, 1.0)
    margin = 0.02 * (high - low) or 1e-6
    return np.linspace(low - margin, high + margin, BINS + 1)


def _mean_curve(values: NDArray, scale: NDArray | float = 1.0) -> Curve:
    mean, error = values.mean(0, dtype=np.float64), values.std(0, dtype=np.float64) / np.sqrt(len(values))
    return Curve(mean * scale, error * scale)


def _legend_above(figure: Figure, g: Gallery) -> None:
    handles, _ = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, g.labels, loc="outside upper center", ncols=2)
