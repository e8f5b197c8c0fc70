"""Copies of training showers are found."""

import h5py
import numpy as np
import pytest
import torch
from maquette.core.data import TensorSource
from maquette.core.statistics.comparison import halves
from maquette.core.statistics.estimate import Estimate
from maquette.data_specs.calorimeter.geometries import known_geometry
from maquette.domains.calorimeter.metrics.comparison import Comparison
from maquette.domains.calorimeter.metrics.effort import EFFORTS
from maquette.domains.calorimeter.metrics.features import Extractor, low_level
from maquette.domains.calorimeter.metrics.memorisation import memorisation
from maquette.domains.calorimeter.sample import sample_path
from maquette.domains.plugin import Unavailable

CALOGAN = known_geometry("calogan")
Sample = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def real() -> tuple[Sample, Sample]:
    """Reference and held-out real showers of the sample in the package, 2,750 each."""
    with h5py.File(sample_path()) as file:
        x, e = file["showers"][:], file["incident_energies"][:]
    half = len(x) // 2
    return (x[:half], e[:half]), (x[half:], e[half:])


def features_of(reference: Sample, generated: Sample, geometry=CALOGAN, seed: int = 0) -> Comparison:
    sources = [TensorSource(*_tensors(sample)) for sample in (reference, generated)]
    extractor = Extractor.fit(geometry, sources[0])
    r, g = (extractor.stream(source, len(source))[0] for source in sources)
    parts = halves(len(r), len(g), np.random.default_rng(seed))
    return Comparison(r, g, parts, extractor, seed)


def _tensors(sample: Sample) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    return torch.from_numpy(sample[0]).float(), {"energy": torch.from_numpy(sample[1]).reshape(-1, 1)}


def test_copies_of_training_showers_are_found(real: tuple[Sample, Sample]) -> None:
    """One shower in twenty replayed is caught, held-out showers are not, whatever else is in the training file."""
    x, e = (np.concatenate(both) for both in zip(*real, strict=True))
    seen, reference, fresh = ((x[part], e[part]) for part in (slice(2500), slice(2500, 4000), slice(4000, 5500)))
    replayed = np.arange(1500) % 20 == 0
    copies = tuple(np.where(replayed[:, None], old[:1500], new) for old, new in zip(seen, fresh, strict=True))

    def judged(sample: Sample, against: Sample | Unavailable = seen) -> Estimate:
        def voxels(side, rows):
            showers, energy = reference if side == "reference" else sample
            return low_level(showers[rows], energy[rows])

        training = against if isinstance(against, Unavailable) else TensorSource(*_tensors(against))
        return memorisation(features_of(reference, sample), voxels, training, EFFORTS["quick"])["memorisation"]

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
