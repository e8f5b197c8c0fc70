"""Frechet and kernel distances as in their sources, with errors that are their spread."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
from maquette.core.statistics.comparison import Halves
from maquette.core.statistics.estimate import Estimate
from maquette.core.statistics.mmd import GroupedKernel
from maquette.data_specs.calorimeter.geometries import known_geometry
from maquette.domains.calorimeter.metrics import distances
from maquette.domains.calorimeter.metrics.comparison import Comparison
from maquette.domains.calorimeter.metrics.distances import comparable, physics_distances, sample_sizes
from maquette.domains.calorimeter.metrics.effort import EFFORTS, EffortConfig

CALOGAN = known_geometry("calogan")
Sample = tuple[np.ndarray, np.ndarray]


def test_frechet_samples_are_those_of_the_source() -> None:
    assert sample_sizes(50_000) == sample_sizes(100_000) == (20_000, 50_000)
    assert comparable(50_000)
    assert sample_sizes(49_999) == (19_999, 49_999)
    assert not comparable(49_999)


def test_distances_use_every_feature_that_is_not_constant(
    real: tuple[Sample, Sample], compare: Callable[..., Comparison]
) -> None:
    (reference, e), (x, f) = ((x[:600].copy(), e[:600]) for x, e in real)
    layer = CALOGAN.slices[2]
    reference[:, layer] = 0
    same, rare = reference.copy(), x[:, layer].argmax()
    reference[::200, layer.start] = 50.0  # half a percent of the showers
    effort = EFFORTS["smoke"]
    found = [physics_distances(compare((r, e), (x, f)), effort) for r in (same, reference)]
    assert rare
    assert "(16 features; those constant there are left out)" in found[0]["fpd"].definition
    assert (
        "(21 features; " in found[1]["fpd"].definition
    )  # energy, centroids in x, y and r, occupancy; one cell: no width
    for estimates in found:
        assert "Not comparable with published values" in estimates["fpd"].definition
        assert "here they are drawn from 300" in estimates["kpd"].definition
        assert estimates["fpd"].remark == estimates["kpd"].remark == "not comparable"
    nothing = np.zeros_like(same)
    blind = physics_distances(compare((nothing, e), (nothing, e)), effort)
    assert np.isnan(blind["fpd"].value)
    assert "all reference showers are the same" in blind["kpd"].definition


def kernel_distance(r: list, g: list, effort: EffortConfig, seed: int = 0) -> Estimate:
    n, none = len(r[0]), cast(Any, None)
    parts = Halves((np.arange(n), np.arange(n)), tuple(np.arange(n) for _ in g))
    return distances._kernel(Comparison(none, none, parts, seed, none), effort, r, g)


def test_kernel_batches_are_those_of_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten of 5,000 a side at random, each shower once at most, always in the group that its row gives it."""
    seen: list[list[np.ndarray]] = []

    class Watched(GroupedKernel):
        def __init__(self, groups) -> None:
            seen.append([group[:, 0] for group in groups])
            super().__init__([group[:3] for group in groups])  # a few rows are enough

    monkeypatch.setattr(distances, "GroupedKernel", Watched)
    rows = np.arange(6000, dtype=np.float64)[:, None] / 6000
    said = kernel_distance([rows, rows + 1], [rows + 2], EFFORTS["full"]).definition
    assert "median of 10 random batches of 5,000 showers, none twice in a batch" in said
    assert len(seen) == 10
    for part in range(3):
        batches = [groups[20 * part : 20 * part + 20] for groups in seen]
        picked = [np.sort(np.concatenate(groups)) for groups in batches]
        assert all(len(np.unique(batch)) == 5000 for batch in picked)
        assert not np.array_equal(picked[0], picked[1])
        for groups in batches:
            assert all(np.ptp(group) < 300 / 6000 for group in groups)
    seen.clear()
    assert (
        "of all 4,000 showers as one batch"
        in kernel_distance([rows[:4000]] * 2, [rows[:4000]], EFFORTS["full"]).definition
    )
    assert len(seen) == 1


@pytest.mark.parametrize(("n", "shift"), [(60, 0.0), (60, 0.5), (400, 0.5)])
def test_error_of_the_kernel_distance_is_its_spread(monkeypatch: pytest.MonkeyPatch, n: int, shift: float) -> None:
    """Also where batches (of 50) overlap nearly wholly."""
    monkeypatch.setattr(distances, "KERNEL_BATCH", 50)
    values, claimed = [], []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        r, g = ([rng.normal(m, 1, size=(n, 2)) for _ in range(2)] for m in (0.0, shift))
        found = kernel_distance(r, g, EFFORTS["full"], seed)
        values.append(found.value)
        claimed.append(found.stderr)
    assert 0.6 < np.sqrt(np.mean(np.square(claimed))) / np.std(values) < 1.8
    if not shift:
        assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(25)
