"""Compare generated with reference showers: all metrics, the figures, published figures and a verdict."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ...core.data import Source, Subset, TensorSource
from ...core.engine.world import World, process_group
from ...core.errors import SampleError, SpaceError
from ...core.statistics.comparison import Index, halves
from ...core.statistics.verdict import verdict
from ...data_specs.calorimeter.geometry import Geometry
from ..judging.classification import Side, classify
from ..judging.comparison import Estimates
from ..judging.effort import effort_named
from ..plugin import Evaluation, Progress, Unavailable
from .figures.figures import figures
from .figures.gallery import Gallery, matched
from .metrics.classification import classifier_tests
from .metrics.comparison import Comparison
from .metrics.distances import physics_distances
from .metrics.effort import EFFORTS, ShowerEffort
from .metrics.features import Extractor, evenly_spaced, high_level, low_level, read
from .metrics.memorisation import memorisation
from .metrics.profiles import profiles
from .metrics.response import response
from .metrics.spectra import lines, separations
from .published import published

SourceOrArrays = Source | tuple[NDArray, NDArray]
"""A data set whose batches have x (B, V) and condition {"energy": (B, 1)}, or such arrays; MeV."""

NOT_GIVEN = Unavailable("the training showers were not given")


def evaluate(
    reference: SourceOrArrays,
    generated: SourceOrArrays,
    geometry: Geometry,
    *,
    training: Source | Unavailable = NOT_GIVEN,
    seed: int = 0,
    progress: Progress = lambda what, done, total: None,
    effort: str | ShowerEffort = "full",
    device: str | None = None,
) -> Evaluation:
    """Compare generated with reference showers.

    Files are read in blocks: only features stay in memory, and the voxels that one classifier needs. If several
    processes were started, they divide the reading and the trainings, and all return the same.

    Args:
        reference, generated: data sets, or pairs (showers (n, V), incident energies (n,) or (n, 1)), MeV.
        geometry: of both; deposits below its threshold are cut first.
        training: the data that the generator was fitted to, for the memorisation check, or why they are missing.
        seed: of halves, classifiers and resampling.
        progress: called as progress(what, done, total).
        effort: "full", "quick", "smoke", or a config of sizes.
        device: where classifiers train; by default a GPU if there is one.

    Raises:
        SampleError: too few showers.
        SpaceError: another number of voxels than the geometry has.
        ConfigError: an unknown effort.

    >>> from maquette.domains.calorimeter.simulator.gflash import GflashConfig
    >>> simulator = GflashConfig().build()
    >>> simulated = simulator.simulate(range(160), seed=0)
    >>> showers, energies = simulated.x.numpy(), simulated.condition["energy"].numpy()
    >>> one, other = (showers[:80], energies[:80]), (showers[80:], energies[80:])
    >>> found = evaluate(one, other, simulator.geometry, effort="smoke", device="cpu")
    >>> found.verdict
    'indistinguishable at n = 40: all 23 metrics lie within 3 sigma of their floors'
    >>> found.estimates["response_width_ratio"].n, found.estimates["memorisation"].value
    (40, nan)
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    with process_group(device) as world:
        return _evaluate(reference, generated, geometry, training, seed, progress, effort, device, world)


def _evaluate(
    reference: SourceOrArrays,
    generated: SourceOrArrays,
    geometry: Geometry,
    training: Source | Unavailable,
    seed: int,
    progress: Progress,
    effort: str | ShowerEffort,
    device: str,
    world: World,
) -> Evaluation:
    sizes = effort_named(effort, EFFORTS) if isinstance(effort, str) else effort
    whole: dict[Side, Source] = {"reference": _source(reference), "generated": _source(generated)}
    for side, source in whole.items():
        _check(side, source, geometry)
    sources: dict[Side, Source] = {side: _part(source, sizes.showers) for side, source in whole.items()}
    parts = halves(len(sources["reference"]), len(sources["generated"]), np.random.default_rng(seed))

    extractor = Extractor.fit(geometry, sources["reference"])
    found = {
        side: extractor.stream(
            source, len(source), lambda done, total, side=side: progress(f"features, {side}", done, total), world
        )
        for side, source in sources.items()
    }
    features = {side: columns for side, (columns, _) in found.items()}
    comparison = Comparison(features["reference"], features["generated"], parts, seed, extractor)

    def low(side: Side, rows: Index) -> NDArray[np.float32]:
        return low_level(*read(sources[side], rows, geometry.effective_threshold))

    matrices = {side: high_level(columns, extractor.angular) for side, columns in features.items()}

    estimates, curves = classify(
        classifier_tests(low, lambda side, rows: matrices[side][rows], geometry.n_voxels, sizes, device),
        parts,
        cross_validate_below=sizes.cross_validate_below,
        seed=seed,
        progress=progress,
        world=world,
        things="showers",
    )
    progress("spectra", 0, 1)
    estimates |= feature_metrics(comparison)
    progress("spectra", 1, 1)
    estimates |= physics_distances(comparison, sizes, lambda done, total: progress("physics distances", done, total))
    estimates |= memorisation(
        comparison, low, training, sizes, lambda done, total: progress("memorisation", done, total)
    )
    progress("figures", 0, 1)
    picks = dict(zip(sources, matched(features["reference"].incident, features["generated"].incident), strict=True))
    shown = {side: read(sources[side], rows, geometry.effective_threshold) for side, rows in picks.items()}
    gallery = Gallery(
        extractor=extractor,
        reference=features["reference"],
        generated=features["generated"],
        means=(found["reference"][1], found["generated"][1]),
        examples=(shown["reference"][0], shown["generated"][0]),
        energies=(shown["reference"][1], shown["generated"][1]),
        curves=curves,
    )
    pictures = figures(gallery)
    progress("figures", 1, 1)
    return Evaluation(
        estimates=estimates,
        figures=pictures,
        published=published(geometry.name, estimates),
        verdict=verdict(estimates, parts.n),
        notes=_notes(whole, sources, parts.n, geometry, effort),
    )


def feature_metrics(c: Comparison) -> Estimates:
    """The metrics that need features only: spectra, response, profiles and lines.

    Two samples of one simulator:

    >>> from maquette.domains.calorimeter.simulator.gflash import GflashConfig
    >>> simulator = GflashConfig().build()
    >>> showers = simulator.simulate(range(160), seed=0)
    >>> source = TensorSource(showers.x, showers.condition)
    >>> extractor = Extractor.fit(simulator.geometry, source)
    >>> one, other = (extractor.stream(Subset(source, rows), 80)[0] for rows in torch.arange(160).split(80))
    >>> comparison = Comparison(one, other, halves(80, 80, np.random.default_rng(0)), seed=0, extractor=extractor)
    >>> estimates = feature_metrics(comparison)
    >>> [len(metrics(comparison)) for metrics in (separations, response, profiles, lines)], len(estimates)
    ([11, 5, 2, 2], 20)
    >>> estimates["response_mean_shift"].significance() < 3
    True
    >>> estimates["t_max"].value  # not measurable: the depth of the maximum needs ten layers
    nan
    """
    return separations(c) | response(c) | profiles(c) | lines(c)


def _source(showers: SourceOrArrays) -> Source:
    if not isinstance(showers, tuple):
        return showers
    x, energy = (torch.from_numpy(np.asarray(array, dtype=np.float32)) for array in showers)
    return TensorSource(x, {"energy": energy.reshape(-1, 1)})


def _part(source: Source, n: int) -> Source:
    """The source, or n of its showers, evenly spaced."""
    return source if len(source) <= n else Subset(source, torch.from_numpy(evenly_spaced(len(source), n)))


def _check(side: str, source: Source, geometry: Geometry) -> None:
    if not len(source):
        raise SampleError(f"The {side} sample has no showers; give at least 40 reference and 20 generated ones.")
    x = source.fetch(torch.zeros(1, dtype=torch.int64)).x
    if not isinstance(x, torch.Tensor) or x.shape[1:] != (geometry.n_voxels,):
        found = tuple(x.shape[1:]) if isinstance(x, torch.Tensor) else "named tensors"
        raise SpaceError(
            f'The {side} showers have shape {found}, the geometry "{geometry.name}" has {geometry.n_voxels} voxels; '
            "compare files of one geometry, or name the right one."
        )


def _notes(
    whole: dict[Side, Source], read: dict[Side, Source], n: int, geometry: Geometry, effort: str | ShowerEffort
) -> Sequence[str]:
    notes = [
        f"Deposits below {1000 * geometry.effective_threshold:g} keV were cut to zero on both sides.",
        f"Each half of the reference and each part of the generated sample has {n:,} showers.",
    ]
    notes += [
        f"Of the {side} sample {len(read[side]):,} of {len(source):,} showers were read, evenly spaced."
        for side, source in whole.items()
        if len(read[side]) < len(source)
    ]
    if effort != "full":
        name = effort if isinstance(effort, str) else "of its own sizes"
        notes.append(
            f"Effort {name}: fewer showers and epochs than the metrics' sources use; quote figures of full effort only."
        )
    return notes
