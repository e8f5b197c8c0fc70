"""Boosted trees as the learner of the classifier two-sample test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from .two_sample import Labels, Matrix, Progress


@dataclass(frozen=True)
class TreeLearner:
    """Histogram gradient boosting (LightGBM's algorithm in scikit-learn), cut at the best validation iteration.

    Attributes:
        iterations: trees at most.
        rate: learning rate.
        leaves: leaves per tree at most.
    """

    iterations: int = 200
    rate: float = 0.1
    leaves: int = 31

    def __str__(self) -> str:
        return f"boosted trees (at most {self.iterations} of {self.leaves} leaves, rate {self.rate:g})"

    def __call__(
        self, train: tuple[Matrix, Labels], valid: tuple[Matrix, Labels], *, seed: int, progress: Progress
    ) -> Callable[[Matrix], NDArray[np.float64]]:
        model = HistGradientBoostingClassifier(
            learning_rate=self.rate,
            max_iter=self.iterations,
            max_leaf_nodes=self.leaves,
            early_stopping=False,  # pyright: ignore[reportArgumentType]
            random_state=seed,
        ).fit(*train)
        chances = (np.where(valid[1] == 1, p[:, 1], p[:, 0]) for p in model.staged_predict_proba(valid[0]))
        best = int(np.argmin([-np.log(chance).mean() for chance in chances]))
        progress(1, 1)
        return lambda rows: _at(model, rows, best)


def _at(model: HistGradientBoostingClassifier, rows: Matrix, stage: int) -> NDArray[np.float64]:
    for k, p in enumerate(model.staged_predict_proba(rows)):
        if k == stage:
            return p[:, 1]
    raise IndexError(stage)
