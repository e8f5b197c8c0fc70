"""Real showers of the sample in the package, and what metrics compare of two samples."""

from collections.abc import Callable

import h5py
import numpy as np
import pytest
import torch
from maquette.core.data import TensorSource
from maquette.core.statistics.comparison import halves
from maquette.data_specs.calorimeter.geometries import known_geometry
from maquette.data_specs.calorimeter.geometry import Geometry
from maquette.domains.calorimeter.metrics.comparison import Comparison
from maquette.domains.calorimeter.metrics.features import Extractor
from maquette.domains.calorimeter.sample import sample_path

Sample = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def real() -> tuple[Sample, Sample]:
    """Reference and held-out real showers of the sample in the package, 2,750 each."""
    with h5py.File(sample_path()) as file:
        x, e = file["showers"][:], file["incident_energies"][:]
    half = len(x) // 2
    return (x[:half], e[:half]), (x[half:], e[half:])


@pytest.fixture(scope="session")
def source_of() -> Callable[[Sample], TensorSource]:
    """Showers and incident energies, MeV, as a source."""
    return lambda sample: TensorSource(
        torch.from_numpy(sample[0]).float(), {"energy": torch.from_numpy(sample[1]).reshape(-1, 1)}
    )


@pytest.fixture(scope="session")
def compare(source_of: Callable[[Sample], TensorSource]) -> Callable[..., Comparison]:
    """The comparison of a reference and a generated sample: by default in the CaloGAN geometry, with seed 0."""

    def compare(reference: Sample, generated: Sample, geometry: Geometry | None = None, seed: int = 0) -> Comparison:
        sources = [source_of(sample) for sample in (reference, generated)]
        extractor = Extractor.fit(geometry or known_geometry("calogan"), sources[0])
        r, g = (extractor.stream(source, len(source))[0] for source in sources)
        return Comparison(r, g, halves(len(r), len(g), np.random.default_rng(seed)), seed, extractor)

    return compare
