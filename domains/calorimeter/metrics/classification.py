"""Classifier two-sample tests on showers, with the same test between the halves of the reference beside each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ....core.engine.parallel import ALONE, World
from ....core.statistics.classifier import NetworkLearner
from ....core.statistics.comparison import Halves, Index
from ....core.statistics.estimate import Estimate
from ....core.statistics.trees import TreeLearner
from ....core.statistics.two_sample import FOLDS, Learner, TwoSample, two_sample_test
from .effort import EffortConfig

Side = Literal["reference", "generated"]
Rows = Callable[[Side, Index], NDArray[np.float32]]
"""Maps a side and row numbers to classifier inputs."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Test:
    """One kind of classifier test.

    Attributes:
        learner: what is trained.
        rows: its inputs.
        cap: showers a side at most.
        inputs: what its inputs are, in the definition.
        jsd: whether its Jensen-Shannon divergence is a metric, too.
    """

    learner: Learner
    rows: Rows
    cap: int
    inputs: str
    jsd: bool = True


def tests(low: Rows, high: Rows, n_voxels: int, effort: EffortConfig, device: str) -> Mapping[str, Test]:
    """The three tests by the ending of their metrics' names."""
    features = "the high-level features"
    network = NetworkLearner(epochs=effort.epochs, device=device)
    small = min(effort.classifier, max(FOLDS * 4, effort.voxels // n_voxels))
    return {
        "low": Test(network, low, small, "the voxels / E_incident and log10 E_incident"),
        "high": Test(network, high, effort.classifier, features),
        "trees": Test(TreeLearner(iterations=effort.trees), high, effort.classifier, features, jsd=False),
    }


@dataclass(frozen=True)
class Run:
    """One training of a learner: reference rows against rows of either side."""

    kind: str
    real: Index
    side: Side
    other: Index
    number: int
    """0 and 1: generated against each half; 2: half against half."""


def classify(
    kinds: Mapping[str, Test],
    halves: Halves,
    effort: EffortConfig,
    *,
    seed: int,
    progress: Progress,
    world: World = ALONE,
) -> tuple[dict[str, Estimate], dict[str, TwoSample]]:
    """Run every test against each half, and between the halves; processes share the trainings.

    Returns:
        The metrics, and by kind the test against the first half (for its ROC curve).
    """
    sizes = {kind: min(halves.n, test.cap) for kind, test in kinds.items()}
    folds = {kind: FOLDS if n < effort.cross_validate_below else 1 for kind, n in sizes.items()}
    runs = [run for kind, n in sizes.items() for run in _runs(kind, halves, n)]

    def result(run: Run) -> TwoSample:
        test = kinds[run.kind]
        return two_sample_test(
            test.learner,
            test.rows("reference", run.real),
            test.rows(run.side, run.other),
            seed=seed + run.number,
            folds=folds[run.kind],
            progress=lambda done, total: progress(f"classifier {run.kind}", run.number * total + done, 3 * total),
        )

    shares = world.gather([result(run) for run in runs[world.rank :: world.size]])
    results = {(run.kind, run.number): shares[i % world.size][i // world.size] for i, run in enumerate(runs)}
    estimates: dict[str, Estimate] = {}
    for kind, test in kinds.items():
        found = [results[kind, number] for number in range(3)]
        how = "5-fold cross-validation" if folds[kind] == FOLDS else "split 60/20/20"
        definition = (
            f"{test.learner} on {test.inputs}; {how}, {sizes[kind]:,} showers a side, floor: the same between the "
            "halves of the reference."
        )
        estimates[f"auc_{kind}"] = _mean(found, "auc", f"ROC AUC (0.5 is chance) of {definition}")
        if test.jsd:
            estimates[f"jsd_{kind}"] = _mean(
                found,
                "jsd",
                "Jensen-Shannon divergence, estimated by 1 - BCE / ln 2 of the isotonically calibrated score, so it "
                f"may come out below 0 where there is little to tell; of {definition}",
            )
    return estimates, {kind: results[kind, 0] for kind in kinds}


def _runs(kind: str, halves: Halves, n: int) -> list[Run]:
    a, b = (part[:n] for part in halves.reference)
    first, second = (halves.generated[i][:n] for i, _ in halves.matches)
    return [Run(kind, a, "generated", first, 0), Run(kind, b, "generated", second, 1), Run(kind, a, "reference", b, 2)]


def _mean(results: list[TwoSample], name: str, definition: str) -> Estimate:
    first, second, floor = ((getattr(r, name), getattr(r, f"{name}_stderr")) for r in results)
    return Estimate(
        value=(first[0] + second[0]) / 2,
        stderr=math.hypot(first[1], second[1]) / 2,
        floor=floor[0],
        n=results[0].n,
        unit="bit" if name == "jsd" else "",
        better="lower",
        definition=definition,
        floor_stderr=floor[1],
    )
