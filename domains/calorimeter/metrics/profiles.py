"""Shape of the mean shower: depth of its maximum in radiation lengths, radius of 90 % in Moliere radii."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares
from scipy.special import gammainc

from ....core.statistics.estimate import not_measurable
from ....data_specs.calorimeter.geometry import Geometry, PolarLayer
from ...judging.comparison import Estimates
from .comparison import Comparison

MIN_LAYERS = 10


def depths(geometry: Geometry) -> NDArray[np.float64] | None:
    """Boundaries of the layers in X0, or None where layers are too few or their depths are unknown."""
    edges = geometry.depth_edges
    if edges is None or geometry.medium is None or len(geometry.active) < MIN_LAYERS:
        return None
    return edges / geometry.medium.radiation_length


def resolves_radius(geometry: Geometry) -> bool:
    """Whether every cell is smaller than half a Moliere radius across the axis, in at least ten layers.

    >>> from maquette.data_specs.calorimeter.geometries import known_geometry
    >>> [resolves_radius(known_geometry(name)) for name in ("ds2", "ds3", "calogan")]
    [True, True, False]
    """
    if geometry.medium is None or len(geometry.active) < MIN_LAYERS:
        return False
    for i in geometry.active:
        layer = geometry.layers[i]
        steps = [layer.r_edges] if isinstance(layer, PolarLayer) else [layer.x_edges, layer.y_edges]
        if max(np.diff(step).max() for step in steps) >= geometry.medium.moliere_radius / 2:
            return False
    return True


def shower_maximum(energy: ArrayLike, edges: ArrayLike) -> float:
    """Depth of the maximum of a gamma function fitted to layer energies, in the unit of the edges.

    dE/dt ~ t^(a-1) exp(-b t) has its maximum at (a - 1) / b; the fit compares its integral over each layer with
    the layer's fraction of the energy (Longo & Sestili, Nucl. Instrum. Meth. 128 (1975) 283).

    Args:
        energy: (L,), any unit.
        edges: boundaries of the layers, (L + 1,).

    Returns:
        The depth; NaN without energy, or with all of it in one layer.

    >>> edges = np.arange(21.0)
    >>> round(shower_maximum(np.diff(gammainc(4.0, 0.5 * edges)), edges), 3)  # (a - 1) / b
    6.0
    """
    energy, edges = np.asarray(energy, dtype=np.float64), np.asarray(edges, dtype=np.float64)
    if np.count_nonzero(energy) < 2:
        return math.nan
    fraction = energy / energy.sum()
    middle = (edges[1:] + edges[:-1]) / 2
    mean = (fraction * middle).sum()
    variance = (fraction * (middle - mean) ** 2).sum()

    def misfit(p: NDArray[np.float64]) -> NDArray[np.float64]:
        norm, a, b = np.exp(p)
        return norm * np.diff(gammainc(a, b * edges)) - fraction

    start = np.log([1.0, mean**2 / variance, mean / variance])
    _, a, b = np.exp(least_squares(misfit, start).x)
    return float((a - 1) / b)


def containment_radius(energy: ArrayLike, edges: ArrayLike, fraction: float = 0.9) -> float:
    """Radius that contains a fraction of the energy, interpolated linearly within rings, in the unit of the edges.

    Args:
        energy: in each ring, (R,).
        edges: of the rings, (R + 1,).
        fraction: of the energy in all rings.

    Returns:
        The radius; NaN without energy.

    >>> containment_radius([8.0, 1.0, 1.0], [0.0, 1.0, 2.0, 3.0])
    2.0
    """
    inside = np.concatenate([[0.0], np.cumsum(np.asarray(energy, dtype=np.float64))])
    if not inside[-1]:
        return math.nan
    return float(np.interp(fraction, inside / inside[-1], np.asarray(edges, dtype=np.float64)))


def profiles(c: Comparison) -> Estimates:
    """Depth of the shower maximum and radius of 90 % of the energy, where the geometry resolves them."""
    geometry = c.extractor.geometry
    longest = "Depth of the maximum of a gamma function fitted to the mean longitudinal profile"
    widest = "Radius of 90 % of the energy of the mean lateral profile"
    found: Estimates = {}
    edges = depths(geometry)
    if edges is None:
        found["t_max"] = not_measurable(longest, "fewer than 10 layers, or their depths in X0 are not known", "X0")
    else:
        boundaries = edges
        found["t_max"] = c.own_value(
            lambda f: lambda rows: (f.layer[rows] / f.incident[rows, None]).sum(0, dtype=np.float64),
            lambda s: shower_maximum(s, boundaries),
            longest,
            unit="X0",
        )
    if geometry.medium is None or not resolves_radius(geometry):
        found["r90"] = not_measurable(
            widest, "fewer than 10 layers, cells of half a Moliere radius or more, or an unknown medium", "R_M"
        )
    else:
        rings = c.extractor.rings / geometry.medium.moliere_radius
        found["r90"] = c.own_value(
            lambda f: lambda rows: (f.radial[rows] / f.incident[rows, None]).sum(0, dtype=np.float64),
            lambda s: containment_radius(s, rings),
            widest,
            unit="R_M",
        )
    return found
