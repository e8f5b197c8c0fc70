"""Figures of two samples: means, units and floors of known values."""

from collections.abc import Callable

import numpy as np
import pytest
from maquette.core.statistics.estimate import not_measurable
from maquette.domains.calorimeter.metrics.comparison import Comparison
from maquette.domains.calorimeter.metrics.features import Features
from maquette.domains.judging.comparison import Values

Sample = tuple[np.ndarray, np.ndarray]


@pytest.fixture
def tripled(real: tuple[Sample, Sample], compare: Callable[..., Comparison]) -> Comparison:
    """Showers against the same showers with three times the energy."""
    x, e = (part[:200] for part in real[0])
    return compare((x, e), (3 * x, 3 * e))


def energy(f: Features) -> Callable[[np.ndarray], Values]:
    return lambda rows: np.array([len(rows), f.incident[rows].sum(dtype=np.float64)])


def mean(sums: Values) -> float:
    return sums[1] / sums[0]


def test_a_difference_is_the_mean_over_halves_in_its_unit(tripled: Comparison) -> None:
    c, incident = tripled, tripled.reference.incident.astype(np.float64)
    estimate = c.estimate(
        c.measure("energy", lambda g, r: mean(g) - mean(r), energy, distance=False), "x.", unit="GeV", scale=1e-3
    )
    assert estimate.value == pytest.approx(2 * incident.mean() / 1000)
    a, b = (incident[half].mean() / 1000 for half in c.halves.reference)
    assert abs(estimate.floor) == pytest.approx(abs(a - b))
    assert (estimate.n, estimate.unit, estimate.better, estimate.definition) == (100, "GeV", "lower", "x.")


def test_the_floor_of_a_figure_of_one_sample_is_that_of_the_reference(tripled: Comparison) -> None:
    estimate = tripled.own_value(energy, mean, "Mean energy", unit="MeV")
    incident = tripled.reference.incident.astype(np.float64)
    assert estimate.floor == pytest.approx(incident.mean())
    assert estimate.value == pytest.approx(3 * incident.mean())
    # the delete-one-group jackknife of a mean is close to its standard error
    assert estimate.floor_stderr == pytest.approx(incident.std() / np.sqrt(200), rel=0.4)
    assert estimate.stderr == pytest.approx(3 * incident.std() / np.sqrt(200), rel=0.4)
    assert estimate.definition == "Mean energy; the floor is the reference's own value."


def test_each_metric_has_a_random_generator_of_its_own(tripled: Comparison) -> None:
    one, again, other = (tripled.rng(name).random() for name in ("fpd", "fpd", "kpd"))
    assert one == again
    assert one != other


def test_what_cannot_be_measured_is_not_judged() -> None:
    estimate = not_measurable("Depth", "too few layers", unit="X0")
    assert np.isnan(estimate.value)
    assert np.isnan(estimate.significance())
    assert (estimate.n, estimate.unit, estimate.better) == (0, "X0", "floor")
