"""The classifier two-sample test: how well does a classifier separate generated from reference samples?

The protocol is that of the CaloChallenge (arXiv:2410.21611). Both samples are equally large and are split 60/20/20 into
parts for training, validation and test. The classifier keeps its best validation state. Isotonic regression on the
validation part calibrates its scores. AUC and JSD (the Jensen-Shannon divergence) are measured on the test part. With
five folds each fifth is the test part once. Label 1 is the reference, label 0 the generated sample.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from ..errors import ConfigError, SampleError
from .auc import auc_stderr, roc_auc
from .bootstrap import bootstrap_stderr

Matrix = NDArray[np.float32]
Labels = NDArray[np.int64]
Progress = Callable[[int, int], None]
"""progress(steps done, all steps)"""

FOLDS = 5
CLIP = 1e-6
"""Calibrated probabilities stay this far from 0 and 1, as in the CaloChallenge."""


class Learner(Protocol):
    """Fits a score to labelled samples."""

    def __call__(
        self, train: tuple[Matrix, Labels], valid: tuple[Matrix, Labels], *, seed: int, progress: Progress
    ) -> Callable[[Matrix], NDArray[np.float64]]:
        """Return the fitted score: samples (n, F) to probabilities of label 1, shape (n,)."""
        ...


@dataclass(frozen=True)
class TwoSample:
    """Result of a classifier two-sample test.

    Attributes:
        auc: area under the ROC curve on the test part (mean over folds); 0.5 if indistinguishable.
        auc_stderr: its standard error after Hanley & McNeil (1982), see `auc.auc_stderr`.
        jsd: estimate of the Jensen-Shannon divergence in bits, 1 - BCE / ln 2 of the calibrated score; below 0 if the
            classifier learned noise.
        jsd_stderr: its standard error by bootstrap of validation and test part; up to twice too large if the samples do
            not differ, because calibration overfits repeated samples.
        n: samples on each side, all parts together.
        scores, labels: of all test samples, fold after fold.
    """

    auc: float
    auc_stderr: float
    jsd: float
    jsd_stderr: float
    n: int
    scores: NDArray[np.float64]
    labels: Labels


def calibrated_jsd(valid: NDArray[np.float64], test: NDArray[np.float64]) -> float:
    """Jensen-Shannon divergence in bits, 1 - BCE / ln 2 on `test` of a score calibrated on `valid`.

    Both have rows (score, label), shape (n, 2); the calibration is isotonic regression.

    >>> perfect = np.array([[0.1, 0.0], [0.9, 1.0]] * 20)
    >>> round(calibrated_jsd(perfect, perfect), 3)
    1.0
    """
    calibrate = IsotonicRegression(y_min=CLIP, y_max=1 - CLIP, out_of_bounds="clip").fit(valid[:, 0], valid[:, 1])
    probability = np.asarray(calibrate.predict(test[:, 0]))
    return float(1 + np.log2(np.where(test[:, 1] == 1, probability, 1 - probability)).mean())


def two_sample_test(
    learner: Learner,
    reference: Matrix,
    generated: Matrix,
    *,
    seed: int,
    folds: int = 1,
    progress: Progress = lambda done, total: None,
) -> TwoSample:
    """Train `learner` to separate two samples, and test it.

    Args:
        learner: what is trained.
        reference, generated: features, (n, F); the longer sample is cut to the length of the shorter.
        seed: of the splits and of the learner.
        folds: how many of the five fifths are used as the test part, 1 to 5 (5 is cross-validation).
        progress: called as progress(steps done, all steps); the learner chooses the unit.

    Raises:
        SampleError: fewer than 20 samples a side, or features that are not finite.
        ConfigError: fewer than 1 or more than 5 folds.

    >>> from maquette.core.statistics.trees import TreeLearner
    >>> x, y = np.random.default_rng(0).normal(size=(2, 200, 1)).astype(np.float32)
    >>> found = two_sample_test(TreeLearner(iterations=3), x, y + 9, seed=0)  # far apart
    >>> isinstance(found, TwoSample), found.auc, found.scores.shape
    (True, 1.0, (80,))
    """
    n = min(len(reference), len(generated))
    if n < 4 * FOLDS:
        raise SampleError(f"A classifier test needs at least {4 * FOLDS} samples a side; found {n}.")
    if not 1 <= folds <= FOLDS:
        raise ConfigError(f"A classifier test has 1 to {FOLDS} folds; found {folds}.")
    for name, sample in (("reference", reference), ("generated", generated)):
        if not np.isfinite(sample[:n]).all():
            raise SampleError(f"A classifier test needs finite features; the {name} sample has NaN or infinity.")

    rng = np.random.default_rng(seed)
    fifths = [np.array_split(rng.permutation(n), FOLDS) for _ in range(2)]

    def samples(*which: int) -> tuple[Matrix, Labels]:
        ones = np.concatenate([fifths[0][k % FOLDS] for k in which])
        zeros = np.concatenate([fifths[1][k % FOLDS] for k in which])
        x = np.concatenate([reference[ones], generated[zeros]])
        return x, np.repeat(np.array([1, 0]), [len(ones), len(zeros)])

    aucs, jsds, variances, scores, labels = [], [], [], [], []
    for fold in range(folds):
        test, valid = samples(fold), samples(fold + 1)
        step: Progress = lambda done, total, fold=fold: progress(fold * total + done, folds * total)  # noqa: E731
        score = learner(samples(fold + 2, fold + 3, fold + 4), valid, seed=seed + fold, progress=step)
        calibration, raw = np.stack([score(valid[0]), valid[1].astype(np.float64)], axis=1), score(test[0])
        judged = np.stack([raw, test[1].astype(np.float64)], axis=1)
        aucs.append(roc_auc(raw, test[1]))
        jsds.append(calibrated_jsd(calibration, judged))
        variances.append(bootstrap_stderr(calibrated_jsd, calibration, judged, rng=rng, resamples=50) ** 2)
        scores.append(raw)
        labels.append(test[1])
    label = np.concatenate(labels)
    auc, ones = float(np.mean(aucs)), int(label.sum())
    return TwoSample(
        auc=auc,
        auc_stderr=auc_stderr(auc, ones, len(label) - ones),
        jsd=float(np.mean(jsds)),
        jsd_stderr=float(np.sqrt(np.sum(variances)) / folds),
        n=n,
        scores=np.concatenate(scores),
        labels=label,
    )
