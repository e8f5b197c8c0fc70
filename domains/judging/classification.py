"""Classifier two-sample tests, each also between the halves of the reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...core.engine.world import ALONE, World
from ...core.statistics.comparison import Halves, Index
from ...core.statistics.estimate import Estimate
from ...core.statistics.two_sample import FOLDS, Learner, TwoSample, two_sample_test

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
        cap: samples a side at most.
        described: what its inputs are, for the definition.
        jsd: whether its Jensen-Shannon divergence is a metric, too.
    """

    learner: Learner
    inputs: Inputs
    cap: int
    described: str
    jsd: bool = True


@dataclass(frozen=True)
class Run:
    """One training of a learner: samples of the reference against samples of either side.

    Attributes:
        kind: name of the test.
        reference: indices of samples of the reference.
        side, other: the side and indices of the samples they are compared with.
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
    *,
    cross_validate_below: int,
    seed: int,
    progress: Progress = lambda what, done, total: None,
    world: World = ALONE,
    things: str = "samples",
) -> tuple[dict[str, Estimate], dict[str, TwoSample]]:
    """Run every test against each half, and between the halves; processes divide the trainings.

    Args:
        kinds: the tests, by the last part of their metrics' names.
        halves: which samples are compared with which.
        cross_validate_below: below so many samples a side all five folds are used.
        seed: of the splits and of the learners.
        progress: called as progress(what, done, total).
        world: processes that share the trainings; all return the same.
        things: what a sample is called in definitions.

    Returns:
        The metrics, and by kind the test against the first half (for its ROC curve).

    Three numbers a side, shifted by a standard deviation:

    >>> from maquette.core.statistics.comparison import halves
    >>> from maquette.core.statistics.trees import TreeLearner
    >>> rng = np.random.default_rng(0)
    >>> x = {"reference": rng.normal(size=(200, 3)), "generated": 1 + rng.normal(size=(200, 3))}
    >>> test = ClassifierTest(TreeLearner(iterations=5), lambda side, rows: x[side][rows], 100, "numbers", jsd=False)
    >>> estimates, curves = classify(
    ...     {"trees": test}, halves(200, 200, rng), cross_validate_below=0, seed=0
    ... )
    >>> round(estimates["auc_trees"].value, 1), round(estimates["auc_trees"].floor, 1), list(curves)
    (0.8, 0.5, ['trees'])
    """
    sizes = {kind: min(halves.n, test.cap) for kind, test in kinds.items()}
    folds = {kind: FOLDS if n < cross_validate_below else 1 for kind, n in sizes.items()}
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
            f"{test.learner} on {test.described}; {how}, {sizes[kind]:,} {things} a side, floor: the same between the "
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
