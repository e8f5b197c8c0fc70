"""The classifier tests of showers: on all voxels, and on the high-level features."""

from __future__ import annotations

from collections.abc import Mapping

from ....core.statistics.classifier import NetworkLearner
from ....core.statistics.trees import TreeLearner
from ....core.statistics.two_sample import FOLDS
from ...judging.classification import ClassifierTest, Inputs
from .effort import ShowerEffort


def classifier_tests(
    low: Inputs, high: Inputs, n_voxels: int, effort: ShowerEffort, device: str
) -> Mapping[str, ClassifierTest]:
    """The three tests of showers, by the last part of their metrics' names: `auc_low`, `auc_high`, `auc_trees`.

    >>> import numpy as np
    >>> from maquette.domains.calorimeter.metrics.effort import EFFORTS
    >>> inputs = lambda side, rows: np.zeros((len(rows), 3), dtype=np.float32)
    >>> tests = classifier_tests(inputs, inputs, n_voxels=100_000, effort=EFFORTS["smoke"], device="cpu")
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
