"""Separation powers of the binned spectra, and the exact lines of an idealised engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ....core.statistics.comparison import Index
from ....core.statistics.estimate import not_measurable
from ....core.statistics.histogram import Binning, separation_power
from ...judging.comparison import Estimates, Values
from .comparison import Comparison
from .features import BINNING_SHOWERS, LINES, Features


def separations(c: Comparison) -> Estimates:
    """Separation powers of the binned spectra."""
    angular = list(c.extractor.angular)
    histogram = "50 equal bins over the reference's 0.1-99.9 % plus under- and overflow"

    def mean_of(what: str) -> str:
        return f"Separation power 1/2 sum (p-q)^2/(p+q) of {what}, mean over layers; {histogram}."

    columns: Mapping[str, tuple[Callable[[Features], Values], str]] = {
        "separation_layer_energy": (lambda f: f.layer, mean_of("the energy in each layer")),
        "separation_total_energy": (
            lambda f: f.response[:, None],
            f"Separation power 1/2 sum (p-q)^2/(p+q) of E_total / E_incident; {histogram}.",
        ),
        "separation_incident_energy": (
            lambda f: np.log10(f.incident)[:, None],
            "Separation power of log10 E_incident: whether both sides were given the same energies; " + f"{histogram}.",
        ),
        "separation_centroid_eta": (lambda f: f.eta[:, angular], mean_of("the centroid in eta")),
        "separation_centroid_phi": (lambda f: f.phi[:, angular], mean_of("the centroid in phi")),
        "separation_centroid_r": (lambda f: f.r, mean_of("the centroid in r")),
        "separation_width_eta": (lambda f: f.width_eta[:, angular], mean_of("the width in eta")),
        "separation_width_phi": (lambda f: f.width_phi[:, angular], mean_of("the width in phi")),
        "separation_width_r": (lambda f: f.width_r, mean_of("the width in r")),
        "separation_sparsity": (
            lambda f: f.sparsity,
            mean_of("the sparsity (fraction of a layer's voxels without energy)"),
        ),
    }

    def power(g: Values, r: Values) -> float:
        return float(separation_power(g, r).mean())

    found: Estimates = {}
    for name, (column, definition) in columns.items():
        if column(c.reference).shape[1] == 0:
            found[name] = not_measurable(definition.rstrip("."), "no layer has cells in that direction")
            continue
        binning = Binning.of(column(c.reference))

        def counts(f: Features, column: Callable = column, binning: Binning = binning) -> Callable[[Index], Values]:
            values = column(f)
            return lambda rows: binning.count(values[rows])

        found[name] = c.estimate(c.measure(name, power, counts, distance=True), definition)
    name = "separation_voxel_spectrum"
    result = c.measure(name, power, lambda f: lambda rows: f.spectrum[rows].sum(0, dtype=np.float64), distance=True)
    found[name] = c.estimate(
        result,
        f"Separation power 1/2 sum (p-q)^2/(p+q) of log10 of the deposits above threshold; {histogram}, from "
        f"at most {BINNING_SHOWERS:,} showers of it, evenly spaced.",
    )
    return found


def lines(c: Comparison) -> Estimates:
    """Fractions of voxels that lie on the exact lines of an idealised engine."""
    what = {"line_511": "511.0 keV (annihilation at rest)", "line_88": "88.0 keV (K-shell binding of lead)"}
    found: Estimates = {}
    for k, name in enumerate(LINES):

        def sums(f: Features, k: int = k) -> Callable[[Index], Values]:
            return lambda rows: np.array([f.lines[rows, k].sum(), f.spectrum[rows].sum()], dtype=np.float64)

        definition = f"Fraction of the voxels above threshold that hold exactly {what[name]}"
        if c.reference.lines[:, k].any() or c.generated.lines[:, k].any():
            found[name] = c.own_value(sums, lambda s: float(s[0] / max(s[1], 1.0)), definition)
        else:
            found[name] = not_measurable(definition, "neither sample has such deposits")
    return found
