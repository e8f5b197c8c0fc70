"""The area under the ROC curve and its error."""

import numpy as np
import pytest
from maquette.core.statistics.auc import auc_stderr, roc_auc, roc_curve
from sklearn.metrics import roc_auc_score


def test_auc_with_ties_agrees_with_sklearn() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 500), rng.integers(0, 9, 500)
    assert roc_auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))
    false, true = roc_curve(scores, labels)
    assert np.trapezoid(true, false) == pytest.approx(roc_auc(scores, labels))
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)


def test_auc_error_is_the_standard_deviation_of_aucs() -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 200)
    for shift in (0.0, 1.0):
        aucs = [roc_auc(rng.normal(size=400) + shift * labels, labels) for _ in range(300)]
        assert auc_stderr(float(np.mean(aucs)), 200, 200) == pytest.approx(np.std(aucs), rel=0.15)
