"""The energy response: known shifts and widths are found, in the units that are stated."""

from collections.abc import Callable

import numpy as np
import pytest
from maquette.domains.calorimeter.metrics.comparison import Comparison
from maquette.domains.calorimeter.metrics.response import energy_edges, response

Sample = tuple[np.ndarray, np.ndarray]


def scaled(x: np.ndarray) -> np.ndarray:
    return x * np.float32(1.01)


def smeared(x: np.ndarray) -> np.ndarray:
    """Each shower by a factor of its own, one percent wide."""
    return x * np.random.default_rng(1).normal(1, 0.01, size=(len(x), 1)).astype(np.float32)


def test_a_wider_response_is_measured_in_its_own_unit(
    real: tuple[Sample, Sample], compare: Callable[..., Comparison]
) -> None:
    reference, (x, e) = real
    found = response(compare(reference, (smeared(x), e)))
    ratio = np.hypot(1, 0.01 / (reference[0].sum(1) / reference[1][:, 0]).std())
    assert found["response_width_ratio"].value == pytest.approx(ratio, rel=0.15)
    assert found["resolution"].significance() > 3
    found = response(compare(reference, (scaled(x), e)))
    assert found["linearity"].value == pytest.approx(1.0, abs=0.1)  # percent


def test_a_scaled_response_is_shifted_by_known_figures(
    real: tuple[Sample, Sample], compare: Callable[..., Comparison]
) -> None:
    """The same showers with half as much energy again, deposited by particles of the same energies."""
    x, e = (part[:200] for part in real[0])
    found = response(compare((x, e), (x * np.float32(1.5), e)))
    per_incident = x.sum(1, dtype=np.float64) / e[:, 0]
    shift = 0.5 * per_incident.mean() / per_incident.std()
    assert found["response_mean_shift"].value == pytest.approx(shift, rel=1e-4)
    assert found["wasserstein_response"].value == pytest.approx(shift, rel=0.02)
    assert found["response_width_ratio"].value == pytest.approx(1.5, rel=0.05)
    assert found["linearity"].value == pytest.approx(50, rel=0.05)  # percent


def test_energy_bins_are_equally_populated_and_fewer_where_energies_repeat() -> None:
    assert energy_edges(np.arange(9.0), bins=4).tolist() == [0, 2, 4, 6, 8]
    assert energy_edges(np.array([1.0, 1.0, 1.0, 5.0]), bins=2).tolist() == [1, 5]
    first, last = energy_edges(np.full(5, 7.0))
    assert first == 7 < last
