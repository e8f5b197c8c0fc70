"""The input of every physics metric: features of two samples of showers, their halves, and what computed them."""

from __future__ import annotations

from dataclasses import dataclass

from ...judging import comparison
from .features import Extractor, Features


@dataclass(frozen=True, repr=False)
class Comparison(comparison.Comparison[Features]):
    """Two sets of features of showers and their division into halves.

    Attributes:
        extractor: computed the features.

    >>> import numpy as np
    >>> from maquette.core.data import TensorSource
    >>> from maquette.core.statistics.comparison import halves
    >>> from maquette.domains.calorimeter.simulator.gflash import GflashConfig
    >>> simulator = GflashConfig().build()
    >>> showers = simulator.simulate(range(200), seed=0)
    >>> source = TensorSource(showers.x, showers.condition)
    >>> extractor = Extractor.fit(simulator.geometry, source)
    >>> features, _ = extractor.stream(source, 200)
    >>> parts = halves(200, 200, np.random.default_rng(0))
    >>> c = Comparison(features, features, parts, seed=0, extractor=extractor)
    >>> sums = lambda f: lambda rows: np.array([len(rows), f.layer[rows, 0].sum()])
    >>> ratio = c.measure("first_layer", lambda g, r: (g[1] / g[0]) / (r[1] / r[0]), sums, distance=False)
    >>> estimate = c.estimate(ratio, "Mean energy in the first layer, generated over reference.", better="floor")
    >>> abs(estimate.value - 1) < 3 * estimate.stderr
    True
    """

    extractor: Extractor
