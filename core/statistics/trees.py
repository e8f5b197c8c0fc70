"""Boosted trees as the classifier of the two-sample test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from .two_sample import Labels, Matrix, Progress


@dataclass(frozen=True)
class TreeLearner:
    """Histogram gradient boosting (scikit-learn); keeps the number of trees with the best validation likelihood.

    Attributes:
        iterations: largest number of trees.
        lr: learning rate.
        leaves: largest number of leaves of a tree.

    >>> print(TreeLearner(iterations=10))
    boosted trees (at most 10 of 31 leaves, rate 0.1)
    """

    iterations: int = 200
    lr: float = 0.1
    leaves: int = 31

    def __str__(self) -> str:
        return f"boosted trees (at most {self.iterations} of {self.leaves} leaves, rate {self.lr:g})"

    def __call__(
        self, train: tuple[Matrix, Labels], valid: tuple[Matrix, Labels], *, seed: int, progress: Progress
    ) -> Callable[[Matrix], NDArray[np.float64]]:
        model = HistGradientBoostingClassifier(
            learning_rate=self.lr,
            max_iter=self.iterations,
            max_leaf_nodes=self.leaves,
            early_stopping=cast(Any, False),  # the stub takes its type from the default, which is a string
            random_state=seed,
        ).fit(*train)
        likelihoods = (np.where(valid[1] == 1, p[:, 1], p[:, 0]) for p in model.staged_predict_proba(valid[0]))
        best = int(np.argmin([-np.log(likelihood).mean() for likelihood in likelihoods]))
        progress(1, 1)
        return lambda x: _probability(model, x, best)


def _probability(model: HistGradientBoostingClassifier, x: Matrix, stage: int) -> NDArray[np.float64]:
    """Probability of label 1 with the trees 0 .. stage, (n,)."""
    for k, p in enumerate(model.staged_predict_proba(x)):
        if k == stage:
            return p[:, 1]
    raise IndexError(stage)
