"""Classifier two-sample tests on showers, each also between the halves of the reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ....core.engine.world import ALONE, World
from ....core.statistics.classifier import NetworkLearner
from ....core.statistics.comparison import Halves, Index
from ....core.statistics.estimate import Estimate
from ....core.statistics.trees import TreeLearner
from ....core.statistics.two_sample import FOLDS, Learner, TwoSample, two_sample_test
from .effort import EffortConfig

Side = Literal["reference", "generated"]
Inputs = Callable[[Side, Index], NDArray[np.float32]]
"""Maps a side and indices (n,) to classifier inputs (n, F)."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ClassifierTest:
    """One kind of classifier test.

    Attributes:
        learner: what is trained.
        inputs: its inputs.
        cap: showers a side at most.
        described: what its inputs are, for the definition.
        jsd: whether its Jensen-Shannon divergence is a metric, too.
    """

    learner: Learner
    inputs: Inputs
    cap: int
    described: str
    jsd: bool = True


def classifier_tests(
    low: Inputs, high: Inputs, n_voxels: int, effort: EffortConfig, device: str
) -> Mapping[str, ClassifierTest]:
    """The three tests of showers, by the last part of their metrics' names: `auc_low`, `auc_high`, `auc_trees`.

    >>> from maquette.domains.calorimeter.metrics.effort import effort_named
    >>> inputs = lambda side, rows: np.zeros((len(rows), 3), dtype=np.float32)
    >>> tests = classifier_tests(inputs, inputs, n_voxels=100_000, effort=effort_named("smoke"), device="cpu")
    >>> {name: test.cap for name, test in tests.items()}  # showers a side: few where each has many voxels
    {'low': 20, 'high': 500, 'trees': 500}
    """
    features = "the high-level features"
    network = NetworkLearner(epochs=effort.epochs, device=device)
    small = min(effort.classifier, max(FOLDS * 4, effort.voxels // n_voxels))
    return {
        "low": ClassifierTest(network, low, small, "the voxels / E_incident and log10 E_incident"),
        "high": ClassifierTest(network, high, effort.classifier, features),
        "trees": ClassifierTest(TreeLearner(iterations=effort.trees), high, effort.classifier, features, jsd=False),
    }


@dataclass(frozen=True)
class Run:
    """One training of a learner: showers of the reference against showers of either side.

    Attributes:
        kind: name of the test.
        reference: indices of the reference showers.
        side, other: the side and indices of the showers they are compared with.
        number: 0 and 1 for generated against each half, 2 for half against half.
    """

    kind: str
    reference: Index
    side: Side
    other: Index
    number: int


def classify(
    kinds: Mapping[str, ClassifierTest],
    halves: Halves,
    effort: EffortConfig,
    *,
    seed: int,
    progress: Progress,
    world: World = ALONE,
) -> tuple[dict[str, Estimate], dict[str, TwoSample]]:
    """Run every test against each half, and between the halves; processes divide the trainings.

    Returns:
        The metrics, and by kind the test against the first half (for its ROC curve).

    Three numbers a side, shifted by a standard deviation:

    >>> from maquette.core.statistics.comparison import halves
    >>> from maquette.domains.calorimeter.metrics.effort import effort_named
    >>> rng = np.random.default_rng(0)
    >>> x = {"reference": rng.normal(size=(200, 3)), "generated": 1 + rng.normal(size=(200, 3))}
    >>> test = ClassifierTest(TreeLearner(iterations=5), lambda side, rows: x[side][rows], 100, "numbers", jsd=False)
    >>> estimates, curves = classify(
    ...     {"trees": test}, halves(200, 200, rng), effort_named("smoke"), seed=0, progress=lambda *_: None
    ... )
    >>> round(estimates["auc_trees"].value, 1), round(estimates["auc_trees"].floor, 1), list(curves)
    (0.8, 0.5, ['trees'])
    """
    sizes = {kind: min(halves.n, test.cap) for kind, test in kinds.items()}
    folds = {kind: FOLDS if n < effort.cross_validate_below else 1 for kind, n in sizes.items()}
    runs = [run for kind, n in sizes.items() for run in _runs(kind, halves, n)]

    def result(run: Run) -> TwoSample:
        test = kinds[run.kind]
        return two_sample_test(
            test.learner,
            test.inputs("reference", run.reference),
            test.inputs(run.side, run.other),
            seed=seed + run.number,
            folds=folds[run.kind],
            progress=lambda done, total: progress(f"classifier {run.kind}", run.number * total + done, 3 * total),
        )

    by_rank = world.gather([result(run) for run in runs[world.rank :: world.size]])
    results = {(run.kind, run.number): by_rank[i % world.size][i // world.size] for i, run in enumerate(runs)}
    estimates: dict[str, Estimate] = {}
    for kind, test in kinds.items():
        found = [results[kind, number] for number in range(3)]
        how = "5-fold cross-validation" if folds[kind] == FOLDS else "split 60/20/20"
        definition = (
            f"{test.learner} on {test.described}; {how}, {sizes[kind]:,} showers a side, floor: the same between the "
            "halves of the reference."
        )
        estimates[f"auc_{kind}"] = _mean(found, "auc", f"ROC AUC (0.5 is chance) of {definition}")
        if test.jsd:
            estimates[f"jsd_{kind}"] = _mean(
                found,
                "jsd",
                "Jensen-Shannon divergence, estimated by 1 - BCE / ln 2 of the isotonically calibrated score, so it "
                f"may be below 0 where the samples hardly differ; of {definition}",
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
