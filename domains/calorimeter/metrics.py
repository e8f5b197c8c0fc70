"""Physics metrics of generated against reference showers, each with error, noise floor and definition.

Definitions follow the CaloChallenge (arXiv:2410.21611) unless a metric says otherwise. Except where a definition
says so, the figure is that of generated showers against each half of the reference, averaged, and the floor is that
of one half against the other, all parts being equally large.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ...core.statistics.bootstrap import bootstrap_stderr
from ...core.statistics.comparison import GROUPS, Contrast, Figure, Halves, Index, contrast, group_sums
from ...core.statistics.estimate import Estimate
from ...core.statistics.frechet import frechet_distance, frechet_infinity, moment_sums, moments
from ...core.statistics.histogram import Binning, separation_power
from ...core.statistics.mmd import GroupedKernel
from ...core.statistics.neighbours import nearest_distance
from ...core.statistics.wasserstein import wasserstein_distance
from .classification import Side
from .effort import EffortConfig
from .features import LINES, Extractor, Features, physics_vector
from .profiles import containment_radius, depths, resolves_radius, shower_maximum

Estimates = dict[str, Estimate]
Better = Literal["lower", "higher", "floor"]
Values = NDArray[Any]

ENERGY_BINS = 8
PAPER_SAMPLES = (20_000, 50_000)
"""Sample sizes between which the FPD of arXiv:2211.10295 is extrapolated."""
KERNEL_BATCH = 5_000
NOT_COMPARABLE = (
    " Not comparable with published values: those extrapolate from 20,000 to 50,000 showers a side, more than here."
)
SIGNIFICANT = 3.0
"""Standard errors beyond the floor from which a difference counts."""
NEGLIGIBLE, RARE = 1e-6, 0.01
"""A feature enters FPD and KPD if it exceeds the first (in its unit) in more than the second part of the reference:
scaled by its largest value, one that is almost never there would outweigh all others."""
NEAR, POOL = 0.01, 5
"""Quantile of the real nearest-neighbour distances below which a shower looks copied; how many times more
showers it may be copied from than are looked at."""


@dataclass(frozen=True)
class Comparison:
    """Two sets of features and how they are divided.

    Attributes:
        reference, generated: features of all showers.
        halves: which rows are compared with which.
        extractor: what computed the features.
        seed: of every random choice; each metric draws from a generator of its own.
    """

    reference: Features
    generated: Features
    halves: Halves
    extractor: Extractor
    seed: int

    def rng(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, crc32(name.encode())])

    def sums(self, of: Callable[[Features], Callable[[Index], Values]]) -> tuple[Values, Values]:
        """Group sums (reference, generated); `of(features)` returns what maps row numbers to sums."""
        reference, generated = of(self.reference), of(self.generated)
        return (
            np.stack([group_sums(reference, part) for part in self.halves.reference]),
            np.stack([group_sums(generated, part) for part in self.halves.generated]),
        )

    def measure(
        self, name: str, figure: Figure, of: Callable[[Features], Callable[[Index], Values]], *, distance: bool
    ) -> Contrast:
        """Contrast of a figure of additive sums."""
        return contrast(figure, *self.sums(of), distance=distance, rng=self.rng(name))

    def estimate(
        self, result: Contrast, definition: str, *, unit: str = "", better: Better = "lower", scale: float = 1.0
    ) -> Estimate:
        """Dress a contrast as an estimate; `scale` converts to the unit."""
        return Estimate(
            value=scale * result.value,
            stderr=scale * result.stderr,
            floor=scale * result.floor,
            n=self.halves.n,
            unit=unit,
            better=better,
            definition=definition,
            floor_stderr=scale * result.floor_stderr,
        )

    def beside(
        self,
        name: str,
        of: Callable[[Features], Callable[[Index], Values]],
        property: Callable[[Values], float],
        definition: str,
        *,
        unit: str = "",
    ) -> Estimate:
        """A property of the generated showers; its floor is the same property of the reference."""
        sides = []
        for groups in self.sums(of):
            pool = groups.reshape(-1, *groups.shape[2:])
            whole = pool.sum(0)
            left = [property(whole - group) for group in pool]
            sides.append((property(whole), math.sqrt((len(left) - 1) * np.var(left))))
        (floor, floor_stderr), (value, stderr) = sides
        text = f"{definition}; the floor is the reference's own value."
        return Estimate(value, stderr, floor, self.halves.n, unit, "floor", text, floor_stderr)


def not_measurable(what: str, why: str, unit: str = "") -> Estimate:
    """A metric that this data cannot give."""
    nan = math.nan
    return Estimate(nan, nan, nan, 0, unit, "floor", f"{what}; not measurable: {why}.", nan)


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
        result, f"Separation power 1/2 sum (p-q)^2/(p+q) of log10 of the deposits above threshold; {histogram}."
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
            found[name] = c.beside(name, sums, lambda s: float(s[0] / max(s[1], 1.0)), definition)
        else:
            found[name] = not_measurable(definition, "neither sample has such deposits")
    return found


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
    """Edges of equally populated bins of incident energy, MeV; fewer where energies repeat."""
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
        found["t_max"] = c.beside(
            "t_max",
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
        found["r90"] = c.beside(
            "r90",
            lambda f: lambda rows: (f.radial[rows] / f.incident[rows, None]).sum(0, dtype=np.float64),
            lambda s: containment_radius(s, rings),
            widest,
            unit="R_M",
        )
    return found


def physics_distances(
    c: Comparison, effort: EffortConfig, progress: Callable[[int, int], None] = lambda done, total: None
) -> Estimates:
    """Frechet and kernel physics distances on the high-level features, scaled by the reference's largest values."""
    angular = c.extractor.angular
    reference = physics_vector(c.reference, angular).astype(np.float64)
    generated = physics_vector(c.generated, angular).astype(np.float64)
    kept = (np.abs(reference) > NEGLIGIBLE).mean(0) > RARE
    scale = np.abs(reference[:, kept]).max(0)
    r = [reference[rows][:, kept] / scale for rows in c.halves.reference]
    g = [generated[rows][:, kept] / scale for rows in c.halves.generated]
    return {"fpd": _frechet(c, effort, r, g, progress), "kpd": _kernel(c, effort, r, g)}


def _frechet(
    c: Comparison, effort: EffortConfig, r: list[Values], g: list[Values], progress: Callable[[int, int], None]
) -> Estimate:
    n = c.halves.n
    comparable = n >= PAPER_SAMPLES[0]
    sizes = PAPER_SAMPLES if comparable else (max(2, int(0.4 * n)), n)
    rng = c.rng("fpd")
    pairs = [*((g[i], r[j]) for i, j in c.halves.matches), (r[0], r[1])]
    points = effort.frechet_points
    fits = [
        frechet_infinity(
            *pair,
            rng,
            samples=sizes,
            points=points,
            batches=effort.frechet_batches,
            progress=lambda done, total, k=k: progress(k * total + done, len(pairs) * total),
        )
        for k, pair in enumerate(pairs)
    ]

    def grouped(parts: list[Values]) -> Values:
        return np.stack([group_sums(lambda rows, x=x: moment_sums(x[rows]), np.arange(n)) for x in parts])

    spread = contrast(
        lambda a, b: frechet_distance(moments(a), moments(b)),
        grouped(r),
        grouped(g),
        distance=True,
        rng=rng,
        permutations=30,
    )
    result = Contrast(
        value=(fits[0][0] + fits[1][0]) / 2,
        stderr=math.hypot(spread.stderr, fits[0][1] / 2, fits[1][1] / 2),
        floor=fits[2][0],
        floor_stderr=math.hypot(spread.floor_stderr, fits[2][1]),
    )
    definition = (
        "Frechet distance (x 1000) of the Gaussian moments of layer energies over E_incident, centroids, widths and "
        f"occupancies, extrapolated in 1/N from {sizes[0]:,}-{sizes[1]:,} showers as in JetNet (arXiv:2211.10295)."
    )
    return c.estimate(result, definition + ("" if comparable else NOT_COMPARABLE), scale=1000)


def _kernel(c: Comparison, effort: EffortConfig, r: list[Values], g: list[Values]) -> Estimate:
    n = c.halves.n
    size = min(n, KERNEL_BATCH)
    batches = max(1, min(effort.kernel_batches, n // size))
    results = []
    for batch in range(batches):
        groups = [np.array_split(x[batch * size : (batch + 1) * size], GROUPS) for x in (*r, *g)]
        kernel = GroupedKernel([group for part in groups for group in part])
        units = kernel.units.reshape(len(groups), GROUPS, -1)
        rng = c.rng(f"kpd/{batch}")
        results.append(contrast(kernel.mmd2, units[:2], units[2:], distance=True, rng=rng))

    def median(name: str) -> float:
        return float(np.median([getattr(result, name) for result in results]))

    shrink = math.sqrt((math.pi / 2 if batches > 2 else 1) / batches)  # the median's efficiency is 2 / pi
    result = Contrast(median("value"), shrink * median("stderr"), median("floor"), shrink * median("floor_stderr"))
    definition = (
        "Squared maximum mean discrepancy (x 1000, unbiased, so it may be negative) with the kernel (x.y/F + 1)^4 on "
        f"the features of the FPD, median of {batches} batches of {size:,} showers (arXiv:2211.10295)."
    )
    return c.estimate(result, definition + ("" if n >= PAPER_SAMPLES[0] else NOT_COMPARABLE), scale=1000)


def memorisation(c: Comparison, voxels: Callable[[Side, Index], Values], effort: EffortConfig) -> Estimates:
    """Share of generated showers suspiciously near to a reference shower.

    Args:
        c: the comparison.
        voxels: maps (side, row numbers) to rows to be compared.
        effort: sizes.
    """
    room = effort.voxels // (POOL * c.extractor.geometry.n_voxels)
    n = min(c.halves.n, effort.neighbours, max(room, GROUPS))
    a, b = (voxels("reference", part[: POOL * n]) for part in c.halves.reference)
    g = voxels("generated", c.halves.generated[0][:n])
    near = float(np.quantile(nearest_distance(b[:n], a), NEAR))
    value, floor = (float((nearest_distance(x, y) < near).mean()) for x, y in ((g, a), (a[:n], b)))

    def error(share: float) -> float:  # of the share itself, and of the quantile that is its threshold
        return math.sqrt((max(share, 1 / n) + NEAR) / n)

    definition = (
        f"Fraction of generated showers nearer (voxels / E_incident) to a shower of one half of the reference than "
        f"{NEAR:.0%} of the other half are: more if showers are copies (of the training data, if they are the "
        "reference); the floor exchanges the halves."
    )
    return {"memorisation": Estimate(value, error(value), floor, n, "", "lower", definition, error(floor))}


def verdict(estimates: Mapping[str, Estimate], n: int) -> str:
    """One sentence: every metric within 3 sigma of its floor, or which are not, the farthest first."""
    beyond = {name: e.excess() for name, e in estimates.items()}
    caught = sorted((name for name, x in beyond.items() if x > SIGNIFICANT), key=lambda name: -beyond[name])
    if not caught:
        measured = sum(map(math.isfinite, beyond.values()))
        return f"indistinguishable at n = {n:,}: all {measured} metrics lie within 3 sigma of their floors"
    named = ", ".join(f"{name} ({beyond[name]:.1f} sigma)" for name in caught)
    return f"distinguishable by {named} at n = {n:,}"
