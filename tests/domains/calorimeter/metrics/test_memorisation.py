"""Copies of training showers are found."""

from collections.abc import Callable

import numpy as np
import pytest
from maquette.core.data import TensorSource
from maquette.core.statistics.estimate import Estimate
from maquette.data_specs.calorimeter.geometries import known_geometry
from maquette.domains.calorimeter.metrics.comparison import Comparison
from maquette.domains.calorimeter.metrics.effort import EFFORTS
from maquette.domains.calorimeter.metrics.features import low_level
from maquette.domains.calorimeter.metrics.memorisation import memorisation
from maquette.domains.plugin import Unavailable

CALOGAN = known_geometry("calogan")
Sample = tuple[np.ndarray, np.ndarray]


def test_copies_of_training_showers_are_found(
    real: tuple[Sample, Sample], compare: Callable[..., Comparison], source_of: Callable[..., TensorSource]
) -> None:
    """One shower in twenty replayed is caught, held-out showers are not, whatever else is in the training file."""
    x, e = (np.concatenate(both) for both in zip(*real, strict=True))
    seen, reference, fresh = ((x[part], e[part]) for part in (slice(2500), slice(2500, 4000), slice(4000, 5500)))
    replayed = np.arange(1500) % 20 == 0
    copies = tuple(np.where(replayed[:, None], old[:1500], new) for old, new in zip(seen, fresh, strict=True))

    def judged(sample: Sample, against: Sample | Unavailable = seen) -> Estimate:
        def voxels(side, rows):
            showers, energy = reference if side == "reference" else sample
            return low_level(showers[rows], energy[rows])

        training = against if isinstance(against, Unavailable) else source_of(against)
        return memorisation(compare(reference, sample), voxels, training, EFFORTS["quick"])["memorisation"]

    held_out, caught = judged(fresh), judged(copies)
    assert not held_out.significance() > 3
    assert caught.significance() > 3
    assert caught.value == pytest.approx(0.06, abs=0.015)
    assert held_out.floor == caught.floor == pytest.approx(0.01, abs=0.01)
    assert "750 showers of each were compared with 2,500 of the 2,500 training showers" in caught.definition
    overlapping = judged(fresh, against=(x[:2600], e[:2600]))
    assert np.isnan(overlapping.value)
    assert "1% or more of the reference are training showers; give held-out ones" in overlapping.definition
    missing = judged(fresh, against=Unavailable("the training showers are lost"))
    assert np.isnan(missing.value)
    assert missing.definition.endswith("; not measurable: the training showers are lost.")
