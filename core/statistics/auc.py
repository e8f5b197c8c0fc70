"""ROC curve of a score, and the area under it with its standard error."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata


def roc_auc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Area under the ROC curve: the probability that a positive scores above a negative, ties counted half.

    Args:
        scores: shape (n,); larger ones mean label 1.
        labels: 0 or 1, shape (n,), both present.

    >>> roc_auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.75
    """
    labels = np.asarray(labels, dtype=bool)
    positive, negative = int(labels.sum()), int((~labels).sum())
    ranks = rankdata(scores)[labels].sum()
    return float((ranks - positive * (positive + 1) / 2) / (positive * negative))


def auc_stderr(auc: float, positive: int, negative: int) -> float:
    """Standard error of an AUC from the numbers of positives and negatives.

    Source: Hanley & McNeil, Radiology 143 (1982) 29, with exponential score distributions.

    >>> round(auc_stderr(0.75, 100, 100), 4)
    0.0344
    """
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    numerator = auc * (1 - auc) + (positive - 1) * (q1 - auc**2) + (negative - 1) * (q2 - auc**2)
    return float(np.sqrt(max(numerator, 0.0) / (positive * negative)))


def roc_curve(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False and true positive rates, each rising from 0 to 1, as the threshold falls through the scores.

    >>> false, true = roc_curve([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    >>> false.tolist(), true.tolist()
    ([0.0, 0.0, 0.5, 0.5, 1.0], [0.0, 0.5, 0.5, 1.0, 1.0])
    """
    scores, labels = np.asarray(scores), np.asarray(labels, dtype=bool)
    order = np.argsort(-scores, kind="stable")
    last_of_ties = np.append(np.diff(scores[order]) != 0, True)
    true, false = np.cumsum(labels[order])[last_of_ties], np.cumsum(~labels[order])[last_of_ties]
    return np.append(0.0, false / false[-1]), np.append(0.0, true / true[-1])
