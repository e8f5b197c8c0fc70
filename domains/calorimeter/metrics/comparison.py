"""The input of every physics metric: features of two samples, and their division into halves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ....core.statistics.comparison import Contrast, Figure, Halves, Index, contrast, group_sums
from ....core.statistics.estimate import Better, Estimate
from ....core.statistics.jackknife import jackknife_variance
from .features import Extractor, Features

Estimates = dict[str, Estimate]
Values = NDArray[Any]
Summed = Callable[[Features], Callable[[Index], Values]]
"""Maps features to a function that maps indices of showers to sums over these showers."""


@dataclass(frozen=True)
class Comparison:
    """Two sets of features and their division into halves.

    Attributes:
        reference, generated: features of all showers.
        halves: which showers are compared with which.
        extractor: computed the features.
        seed: of every random choice; each metric has its own random generator.

    >>> from maquette.core.data import TensorSource
    >>> from maquette.core.statistics.comparison import halves
    >>> from maquette.domains.calorimeter.simulator.gflash import GflashConfig
    >>> simulator = GflashConfig().build()
    >>> showers = simulator.simulate(range(200), seed=0)
    >>> source = TensorSource(showers.x, showers.condition)
    >>> extractor = Extractor.fit(simulator.geometry, source)
    >>> features, _ = extractor.stream(source, 200)
    >>> c = Comparison(features, features, halves(200, 200, np.random.default_rng(0)), extractor, seed=0)
    >>> c
    Comparison(reference=200, generated=200, halves=100, seed=0)
    >>> sums = lambda f: lambda rows: np.array([len(rows), f.layer[rows, 0].sum()])
    >>> ratio = c.measure("first_layer", lambda g, r: (g[1] / g[0]) / (r[1] / r[0]), sums, distance=False)
    >>> estimate = c.estimate(ratio, "Mean energy in the first layer, generated over reference.", better="floor")
    >>> abs(estimate.value - 1) < 3 * estimate.stderr
    True
    """

    reference: Features
    generated: Features
    halves: Halves
    extractor: Extractor
    seed: int

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(reference={len(self.reference)}, generated={len(self.generated)}, "
            f"halves={self.halves.n}, seed={self.seed})"
        )

    def rng(self, name: str) -> np.random.Generator:
        """The random generator of a metric."""
        return np.random.default_rng([self.seed, crc32(name.encode())])

    def sums(self, of: Summed) -> tuple[Values, Values]:
        """Group sums (reference, generated); `of(features)` returns the function of indices that sums."""
        reference, generated = of(self.reference), of(self.generated)
        return (
            np.stack([group_sums(reference, part) for part in self.halves.reference]),
            np.stack([group_sums(generated, part) for part in self.halves.generated]),
        )

    def measure(self, name: str, figure: Figure, of: Summed, *, distance: bool) -> Contrast:
        """Contrast of a figure of additive sums."""
        return contrast(figure, *self.sums(of), distance=distance, rng=self.rng(name))

    def estimate(
        self,
        result: Contrast,
        definition: str,
        *,
        unit: str = "",
        better: Better = "lower",
        scale: float = 1.0,
        remark: str = "",
    ) -> Estimate:
        """The contrast as an estimate; `scale` converts to the unit."""
        return Estimate(
            value=scale * result.value,
            stderr=scale * result.stderr,
            floor=scale * result.floor,
            n=self.halves.n,
            unit=unit,
            better=better,
            definition=definition,
            floor_stderr=scale * result.floor_stderr,
            remark=remark,
        )

    def own_value(
        self,
        of: Summed,
        figure: Callable[[Values], float],
        definition: str,
        *,
        unit: str = "",
    ) -> Estimate:
        """A figure of the generated showers alone, such as a depth; its floor is the same figure of the reference."""
        sides = []
        for groups in self.sums(of):
            pool = groups.reshape(-1, *groups.shape[2:])
            whole = pool.sum(0)
            left = [figure(whole - group) for group in pool]
            sides.append((figure(whole), math.sqrt(jackknife_variance(left))))
        (floor, floor_stderr), (value, stderr) = sides
        text = f"{definition}; the floor is the reference's own value."
        return Estimate(value, stderr, floor, self.halves.n, unit, "floor", text, floor_stderr)
