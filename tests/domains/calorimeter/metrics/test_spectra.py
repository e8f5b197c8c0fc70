"""Separation powers are what their definitions say."""

from collections.abc import Callable

import numpy as np
import pytest
from maquette.core.statistics.estimate import Estimate
from maquette.data_specs.calorimeter.geometries import known_geometry
from maquette.domains.calorimeter.evaluate import feature_metrics
from maquette.domains.calorimeter.metrics.comparison import Comparison

CALOGAN = known_geometry("calogan")
Sample = tuple[np.ndarray, np.ndarray]


def first(estimates: dict[str, Estimate]) -> str:
    return max(estimates, key=lambda name: np.nan_to_num(estimates[name].significance(), nan=-np.inf))


def by_hand(c: Comparison, column: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Separation power (mean over columns) and its floor, written out: 50 bins, two for what lies outside, halves."""

    def power(p: np.ndarray, q: np.ndarray) -> float:
        found = []
        for k in range(p.shape[1]):
            low, high = np.percentile(column[:, k].astype(np.float64), [0.1, 99.9])
            edges = np.r_[-np.inf, np.linspace(low, high, 51)[:-1], np.nextafter(high, np.inf), np.inf]
            a, b = (np.histogram(side[:, k].astype(np.float64), edges)[0] / len(side) for side in (p, q))
            assert len(a) == 52
            some = a + b > 0
            found.append(0.5 * ((a - b)[some] ** 2 / (a + b)[some]).sum())
        return float(np.mean(found))

    first, second = (column[rows] for rows in c.halves.reference)
    parts = [other[rows] for rows in c.halves.generated]
    assert len(first) == len(second) == len(column) // 2
    return np.mean([power(part, half) for part in parts for half in (first, second)]).item(), power(first, second)


def test_separations_are_what_they_are_defined_as(
    real: tuple[Sample, Sample], compare: Callable[..., Comparison]
) -> None:
    """Mean over layers, E_total over E_incident, binning, figure against each half averaged, floor half to half."""
    reference, (x, e) = real
    x = x.copy()
    x[:, CALOGAN.slices[1]] *= 1.3  # one layer alone: mean, largest and sum over layers are far apart
    e = e * np.float32(1.2)
    c = compare(reference, (x, e))
    found = feature_metrics(c)
    for name, of in {
        "separation_layer_energy": lambda f: f.layer,
        "separation_total_energy": lambda f: (f.layer.sum(1, dtype=np.float64) / f.incident)[:, None],
        "separation_incident_energy": lambda f: np.log10(f.incident)[:, None],
        "separation_sparsity": lambda f: 1 - f.occupancy,
        "separation_width_phi": lambda f: f.width_phi,
        "separation_centroid_r": lambda f: f.r,
    }.items():
        value, floor = by_hand(c, of(c.reference), of(c.generated))
        assert found[name].value == pytest.approx(value, abs=2e-4), name  # sums of float32 round at edges
        assert found[name].floor == pytest.approx(floor, abs=2e-4), name
        assert floor > 2e-3


def test_total_energy_is_judged_over_the_incident_one(
    real: tuple[Sample, Sample], compare: Callable[..., Comparison]
) -> None:
    reference, (x, e) = real
    found = feature_metrics(compare(reference, (2 * x, 2 * e)))
    assert found["separation_layer_energy"].significance() > 10
    assert found["separation_total_energy"].significance() < 3
