"""The energy response E_total / E_incident: mean, width, shape, linearity and resolution."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ....core.statistics.bootstrap import bootstrap_stderr
from ....core.statistics.comparison import Index
from ....core.statistics.estimate import Estimate
from ....core.statistics.wasserstein import wasserstein_distance
from ...judging.comparison import Estimates, Values
from .comparison import Comparison
from .features import Features

ENERGY_BINS = 8


def response(c: Comparison) -> Estimates:
    """Mean, width, shape, linearity and resolution of E_total / E_incident."""
    r = c.reference.response
    centre, sigma = float(r.mean()), max(float(r.std()), 1e-12)

    def sums(f: Features) -> Callable[[Index], Values]:
        z = (f.response - centre) / sigma
        return lambda rows: np.array([len(rows), z[rows].sum(), (z[rows] ** 2).sum()])

    def mean(s: Values) -> float:
        return s[1] / s[0]

    def width(s: Values) -> float:
        return math.sqrt(max(s[2] / s[0] - mean(s) ** 2, 0.0))

    shift = c.measure("response_mean", lambda g, r: mean(g) - mean(r), sums, distance=False)
    ratio = c.measure("response_width", lambda g, r: width(g) / width(r), sums, distance=False)
    return {
        "response_mean_shift": c.estimate(
            shift,
            "Mean E_total / E_incident, generated less reference, in standard deviations of the reference; signed.",
            unit="sigma",
            better="floor",
        ),
        "response_width_ratio": c.estimate(
            ratio,
            "Standard deviation of E_total / E_incident, generated over reference.",
            better="floor",
        ),
        "wasserstein_response": _wasserstein_response(c, sigma),
        **_against_energy(c),
    }


def _wasserstein_response(c: Comparison, sigma: float) -> Estimate:
    rng = c.rng("wasserstein_response")
    reference = [c.reference.response[rows] / sigma for rows in c.halves.reference]
    generated = [c.generated.response[rows] / sigma for rows in c.halves.generated]
    pairs = [(generated[i], reference[j]) for i, j in c.halves.matches]
    errors = [bootstrap_stderr(wasserstein_distance, *pair, rng=rng) for pair in [*pairs, (reference[0], reference[1])]]
    return Estimate(
        value=float(np.mean([wasserstein_distance(*pair) for pair in pairs])),
        stderr=math.hypot(errors[0], errors[1]) / 2,
        floor=wasserstein_distance(*reference),
        n=c.halves.n,
        unit="sigma",
        better="lower",
        definition="1-Wasserstein distance of E_total / E_incident in standard deviations of the reference.",
        floor_stderr=errors[2],
    )


def energy_edges(incident: NDArray, bins: int = ENERGY_BINS) -> NDArray[np.float64]:
    """Edges of equally populated bins of incident energy, MeV; fewer where energies repeat.

    >>> energy_edges(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), bins=2)
    array([1., 3., 5.])
    """
    edges = np.unique(np.percentile(np.asarray(incident, dtype=np.float64), np.linspace(0, 100, bins + 1)))
    return edges if len(edges) > 1 else np.array([edges[0], np.nextafter(edges[0], np.inf)])


def _against_energy(c: Comparison) -> Estimates:
    edges = energy_edges(c.reference.incident)
    bins = len(edges) - 1
    centre = float(c.reference.response.mean())

    def sums(f: Features) -> Callable[[Index], Values]:
        which = np.clip(np.searchsorted(edges, f.incident, side="right") - 1, 0, bins - 1)
        powers = np.stack([np.ones(len(f)), f.response - centre, (f.response - centre) ** 2])
        return lambda rows: np.stack([np.bincount(which[rows], weights=p[rows], minlength=bins) for p in powers])

    def mean(s: Values) -> Values:
        return centre + s[1] / np.where(s[0] > 0, s[0], np.nan)

    def resolution(s: Values) -> Values:
        n = np.where(s[0] > 1, s[0], np.nan)
        return np.sqrt(np.clip(s[2] / n - (s[1] / n) ** 2, 0, None)) / mean(s)

    def rms(ratio: Values) -> float:
        known = ratio[np.isfinite(ratio)]
        return math.sqrt(np.mean((known - 1) ** 2)) if len(known) else math.nan

    with np.errstate(divide="ignore", invalid="ignore"):
        linear = c.measure("linearity", lambda g, r: rms(mean(g) / mean(r)), sums, distance=True)
        resolved = c.measure("resolution", lambda g, r: rms(resolution(g) / resolution(r)), sums, distance=True)
    where = f"root mean square over {bins} equally populated bins of incident energy"
    return {
        "linearity": c.estimate(
            linear,
            f"Relative difference of the mean response E_total / E_incident, {where}.",
            unit="%",
            scale=100,
        ),
        "resolution": c.estimate(
            resolved,
            f"Relative difference of the energy resolution sigma / mean of E_total / E_incident, {where}.",
            unit="%",
            scale=100,
        ),
    }
