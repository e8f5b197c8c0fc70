"""Frechet and kernel distances as in their sources, with errors that are their spread."""

from typing import Any, cast

import numpy as np
import pytest
from maquette.core.statistics.comparison import Halves, halves
from maquette.core.statistics.estimate import Estimate
from maquette.core.statistics.mmd import GroupedKernel
from maquette.domains.judging import distances
from maquette.domains.judging.comparison import Comparison
from maquette.domains.judging.distances import comparable, physics_distances, sample_sizes
from maquette.domains.judging.effort import EffortConfig

FULL = EffortConfig()


def test_frechet_samples_are_those_of_the_source() -> None:
    assert sample_sizes(50_000) == sample_sizes(100_000) == (20_000, 50_000)
    assert comparable(50_000)
    assert sample_sizes(49_999) == (19_999, 49_999)
    assert not comparable(49_999)


def test_features_are_scaled_by_the_reference_and_constant_ones_are_left_out() -> None:
    rng = np.random.default_rng(0)
    reference, generated = rng.normal(2, 1, size=(2, 80, 3))
    reference[:, 2] = 7.0
    c = Comparison(reference, generated, halves(80, 80, rng), seed=0)
    effort = EffortConfig(frechet_points=3, frechet_batches=2, kernel_batches=1)

    def measured(scale: np.ndarray) -> dict[str, Estimate]:
        return physics_distances(c, reference * scale, generated * scale, effort, described="densities", things="boxes")

    found, scaled = measured(np.ones(3)), measured(np.array([1e3, 1e-6, 1.0]))
    for name, estimate in found.items():
        assert estimate.value == pytest.approx(scaled[name].value, rel=1e-6)
        assert "here they are drawn from 40" in estimate.definition
        assert "boxes" in estimate.definition
    assert "densities, each over its largest value in the reference (2 features;" in found["fpd"].definition


def kernel_distance(r: list, g: list, effort: EffortConfig, seed: int = 0) -> Estimate:
    n, none = len(r[0]), cast(Any, None)
    parts = Halves((np.arange(n), np.arange(n)), tuple(np.arange(n) for _ in g))
    return distances._kernel(Comparison(none, none, parts, seed), effort, r, g, "boxes")


def test_kernel_batches_are_those_of_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten of 5,000 a side at random, each sample once at most, always in the group that its row gives it."""
    seen: list[list[np.ndarray]] = []

    class Watched(GroupedKernel):
        def __init__(self, groups) -> None:
            seen.append([group[:, 0] for group in groups])
            super().__init__([group[:3] for group in groups])  # a few rows are enough

    monkeypatch.setattr(distances, "GroupedKernel", Watched)
    rows = np.arange(6000, dtype=np.float64)[:, None] / 6000
    said = kernel_distance([rows, rows + 1], [rows + 2], FULL).definition
    assert "median of 10 random batches of 5,000 boxes, none twice in a batch" in said
    assert len(seen) == 10
    for part in range(3):
        batches = [groups[20 * part : 20 * part + 20] for groups in seen]
        picked = [np.sort(np.concatenate(groups)) for groups in batches]
        assert all(len(np.unique(batch)) == 5000 for batch in picked)
        assert not np.array_equal(picked[0], picked[1])
        for groups in batches:
            assert all(np.ptp(group) < 300 / 6000 for group in groups)
    seen.clear()
    assert "of all 4,000 boxes as one batch" in kernel_distance([rows[:4000]] * 2, [rows[:4000]], FULL).definition
    assert len(seen) == 1


@pytest.mark.parametrize(("n", "shift"), [(60, 0.0), (60, 0.5), (400, 0.5)])
def test_error_of_the_kernel_distance_is_its_spread(monkeypatch: pytest.MonkeyPatch, n: int, shift: float) -> None:
    """Also where batches (of 50) overlap nearly wholly."""
    monkeypatch.setattr(distances, "KERNEL_BATCH", 50)
    values, claimed = [], []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        r, g = ([rng.normal(m, 1, size=(n, 2)) for _ in range(2)] for m in (0.0, shift))
        found = kernel_distance(r, g, FULL, seed)
        values.append(found.value)
        claimed.append(found.stderr)
    assert 0.6 < np.sqrt(np.mean(np.square(claimed))) / np.std(values) < 1.8
    if not shift:
        assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(25)
