"""The classifier tests are those of the CaloChallenge."""

from dataclasses import replace
from typing import Any

import numpy as np
from maquette.core.statistics.classifier import NetworkLearner
from maquette.core.statistics.comparison import halves
from maquette.core.statistics.trees import TreeLearner
from maquette.domains.calorimeter.metrics.classification import classifier_tests
from maquette.domains.calorimeter.metrics.effort import EFFORTS
from maquette.domains.judging.classification import classify


def test_classifiers_are_the_prescribed_ones() -> None:
    """The definition that is printed is built from what is trained."""
    none: Any = None
    kinds = classifier_tests(none, none, n_voxels=504, effort=EFFORTS["full"], device="cpu")
    assert kinds["low"].learner == kinds["high"].learner == NetworkLearner(512, 2, 50, 1000, 2e-4, "cpu")
    assert kinds["trees"].learner == TreeLearner(iterations=200)
    assert [kind.cap for kind in kinds.values()] == [20_000] * 3
    assert (
        classifier_tests(none, none, n_voxels=40_500, effort=EFFORTS["full"], device="cpu")["low"].cap
        == (1 << 28) // 40_500
    )

    def rows(side, index: np.ndarray) -> np.ndarray:
        return np.random.default_rng(len(side)).normal(size=(100, 2)).astype(np.float32)[index]

    kind = replace(
        kinds["low"], inputs=rows, learner=NetworkLearner(hidden=3, layers=1, epochs=2, batch_size=10, lr=0.5)
    )
    parts = halves(100, 100, np.random.default_rng(0))
    found, _ = classify({"low": kind}, parts, cross_validate_below=5000, seed=0, things="showers")
    said = found["auc_low"].definition
    assert (
        "a network with 1 hidden layers of 3, Adam 0.5, batch 10, 2 epochs on the voxels / E_incident and log10" in said
    )
    assert "5-fold cross-validation, 50 showers a side" in said
