"""What figures are drawn from, and which layers and showers they show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....core.statistics.two_sample import TwoSample
from ..metrics.features import Extractor, Features

SHOWN = 5
"""Layers at most in figures of single layers."""
EXAMPLES = 4
SIDES = ("reference", "generated")
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Gallery:
    """The data that the figures are drawn from.

    Attributes:
        extractor: computed the features.
        reference, generated: features of all showers.
        means: mean shower (V,) of reference and generated, MeV.
        examples: showers (EXAMPLES, V) of reference and generated, MeV, pairwise of similar incident energy.
        energies: their incident energies (EXAMPLES,), MeV.
        curves: classifier tests by name.

    >>> from maquette.core.data import TensorSource
    >>> from maquette.domains.calorimeter.simulator.gflash import GflashConfig
    >>> simulator = GflashConfig(geometry="ds2").build()
    >>> showers = simulator.simulate(range(40), seed=0)
    >>> source = TensorSource(showers.x, showers.condition)
    >>> extractor = Extractor.fit(simulator.geometry, source)
    >>> features, mean = extractor.stream(source, 40)
    >>> rows, _ = matched(features.incident, features.incident)
    >>> shown, energies = source.x[rows].numpy(), features.incident[rows]
    >>> gallery = Gallery(
    ...     extractor, features, features, (mean, mean), (shown, shown), (energies, energies), curves={}
    ... )
    >>> gallery.labels[0], gallery.few_layers, [gallery.layer_name(k) for k in gallery.shown]
    ('reference (n = 40)', False, ['layer 1', 'layer 4', 'layer 8', 'layer 13', 'layer 23'])
    """

    extractor: Extractor
    reference: Features
    generated: Features
    means: tuple[Array, Array]
    examples: tuple[NDArray, NDArray]
    energies: tuple[NDArray, NDArray]
    curves: Mapping[str, TwoSample]

    @property
    def labels(self) -> tuple[str, str]:
        return f"reference (n = {len(self.reference):,})", f"generated (n = {len(self.generated):,})"

    @property
    def few_layers(self) -> bool:
        """Whether all layers fit side by side."""
        return len(self.extractor.geometry.active) <= SHOWN

    @property
    def shown(self) -> list[int]:
        """Indices of the layers to show: all if few, else those at fixed quantiles of the mean energy in depth."""
        energy = self.reference.layer.mean(0, dtype=np.float64)
        if len(energy) <= SHOWN:
            return list(range(len(energy)))
        inside = np.cumsum(energy) / energy.sum()
        return sorted({int(np.searchsorted(inside, quantile)) for quantile in (0.02, 0.2, 0.5, 0.8, 0.98)})

    def layer_name(self, k: int) -> str:
        return f"layer {self.extractor.geometry.layers[self.extractor.geometry.active[k]].id}"


def matched(reference: NDArray, generated: NDArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of reference and generated showers of similar incident energy, from low to high.

    Args:
        reference, generated: incident energies, (n,), any unit.

    >>> matched(np.linspace(1.0, 10.0, 100), np.linspace(1.0, 10.0, 50))
    (array([10, 24, 48, 89]), array([ 5, 12, 24, 44]))
    """
    low, high = np.percentile(reference, [10, 90])
    wanted = np.geomspace(low, high, EXAMPLES)
    picks = [np.array([np.abs(np.log(side / energy)).argmin() for energy in wanted]) for side in (reference, generated)]
    return picks[0], picks[1]
