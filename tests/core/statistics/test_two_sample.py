"""The classifier two-sample test with both learners."""

import numpy as np
import pytest
from maquette.core.errors import ConfigError, SampleError
from maquette.core.statistics.auc import roc_auc
from maquette.core.statistics.classifier import NetworkLearner
from maquette.core.statistics.trees import TreeLearner
from maquette.core.statistics.two_sample import calibrated_jsd, two_sample_test
from scipy.stats import norm

LEARNERS = {
    "network": NetworkLearner(hidden=32, epochs=10, batch_size=200, lr=1e-2),
    "trees": TreeLearner(iterations=30),
}


def two(n: int, shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.random.default_rng(seed).normal(size=(2, n, 3)).astype(np.float32)
    y[:, 0] += shift
    return x, y


def test_jsd_of_a_perfectly_known_score() -> None:
    rng = np.random.default_rng(2)

    def rows(n: int) -> np.ndarray:
        label = np.repeat([0.0, 1.0], n)
        return np.stack([rng.normal(size=2 * n) + 2 * label, label], axis=1)

    x = np.linspace(-8, 10, 4001)
    p, q = norm.pdf(x), norm.pdf(x, 2)
    m = (p + q) / 2
    truth = 0.5 * np.trapezoid(p * np.log2(p / m) + q * np.log2(q / m), x)
    assert calibrated_jsd(rows(20_000), rows(20_000)) == pytest.approx(truth, abs=0.015)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_shift_has_its_known_auc(name: str) -> None:
    result = two_sample_test(LEARNERS[name], *two(2000, 1.0), seed=3)
    assert result.auc == pytest.approx(norm.cdf(1 / np.sqrt(2)), abs=4 * result.auc_stderr)
    assert 0 < result.jsd < 0.3
    assert result.n == 2000
    assert len(result.scores) == 800
    assert roc_auc(result.scores, result.labels) == pytest.approx(result.auc)


@pytest.mark.parametrize("name", LEARNERS)
def test_equal_distributions_are_not_separated(name: str) -> None:
    result = two_sample_test(LEARNERS[name], *two(1000, 0.0), seed=4, folds=5)
    assert abs(result.auc - 0.5) < 4 * result.auc_stderr
    assert result.jsd < 3 * result.jsd_stderr
    assert len(result.scores) == 2000


@pytest.mark.parametrize("name", LEARNERS)
def test_the_result_depends_on_the_seed_alone(name: str) -> None:
    one, again, other = (two_sample_test(LEARNERS[name], *two(300, 0.5), seed=s).auc for s in (7, 7, 8))
    assert one == again
    assert one != other


def test_a_learner_that_overfits_is_cut_at_its_best_state() -> None:
    x, y = two(400, 0.0)
    late = NetworkLearner(hidden=128, epochs=40, batch_size=100, lr=3e-3)
    assert abs(two_sample_test(late, x, y, seed=1).auc - 0.5) < 0.15


def test_learners_describe_themselves() -> None:
    expected = "a network with 2 hidden layers of 512, Adam 0.0002, batch 1,000, 50 epochs"
    assert str(NetworkLearner()) == expected
    other = NetworkLearner(hidden=16, layers=3, epochs=7, batch_size=64, lr=5e-3)
    assert str(other) == "a network with 3 hidden layers of 16, Adam 0.005, batch 64, 7 epochs"
    assert str(TreeLearner(iterations=30)) == "boosted trees (at most 30 of 31 leaves, rate 0.1)"


def test_progress_counts_to_the_end() -> None:
    seen: list[tuple[int, int]] = []
    two_sample_test(LEARNERS["network"], *two(100, 0.5), seed=0, folds=2, progress=lambda d, t: seen.append((d, t)))
    assert seen == [(k + 1, 20) for k in range(20)]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda x: (x[:10], x), "at least 20 samples a side; found 10"),
        (lambda x: (np.where(x == x[3, 0], np.nan, x), x), "the reference sample has NaN"),
    ],
)
def test_bad_samples_are_refused(change, sentence: str) -> None:
    with pytest.raises(SampleError, match=sentence):
        two_sample_test(LEARNERS["trees"], *change(two(100, 0)[0]), seed=0)


def test_other_numbers_of_folds_are_refused() -> None:
    with pytest.raises(ConfigError, match="1 to 5 folds; found 6"):
        two_sample_test(LEARNERS["trees"], *two(100, 0), seed=0, folds=6)
