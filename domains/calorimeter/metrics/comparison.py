"""What every physics metric is computed from: features of two samples, and their division into halves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ....core.statistics.comparison import Contrast, Figure, Halves, Index, contrast, group_sums
from ....core.statistics.estimate import Estimate
from ....core.statistics.jackknife import jackknife_variance
from .features import Extractor, Features

Estimates = dict[str, Estimate]
Better = Literal["lower", "higher", "floor"]
Values = NDArray[Any]
Summed = Callable[[Features], Callable[[Index], Values]]
"""Maps features to a function of indices, which returns sums of something additive over them."""


@dataclass(frozen=True)
class Comparison:
    """Two sets of features and their division into halves.

    Attributes:
        reference, generated: features of all showers.
        halves: which showers are compared with which.
        extractor: computed the features.
        seed: of every random choice; each metric has its own random generator.
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
        property: Callable[[Values], float],
        definition: str,
        *,
        unit: str = "",
    ) -> Estimate:
        """A property of the generated showers alone; its floor is the same property of the reference."""
        sides = []
        for groups in self.sums(of):
            pool = groups.reshape(-1, *groups.shape[2:])
            whole = pool.sum(0)
            left = [property(whole - group) for group in pool]
            sides.append((property(whole), math.sqrt(jackknife_variance(left))))
        (floor, floor_stderr), (value, stderr) = sides
        text = f"{definition}; the floor is the reference's own value."
        return Estimate(value, stderr, floor, self.halves.n, unit, "floor", text, floor_stderr)


def not_measurable(what: str, why: str, unit: str = "", better: Better = "floor") -> Estimate:
    """A metric that these data cannot determine."""
    nan = math.nan
    return Estimate(nan, nan, nan, 0, unit, better, f"{what}; not measurable: {why}.", nan)
