"""The input of the metrics of two distributions: features of two samples, and their division into halves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sized
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ...core.statistics.comparison import Contrast, Figure, Halves, Index, contrast, group_sums
from ...core.statistics.estimate import Better, Estimate
from ...core.statistics.jackknife import jackknife_variance

F = TypeVar("F", bound=Sized)
"""Features of all samples of one side: an array, or a record of arrays with a length."""
Estimates = dict[str, Estimate]
Values = NDArray[Any]
Summed = Callable[[F], Callable[[Index], Values]]
"""Maps features to a function that maps indices of samples to sums over these samples."""


@dataclass(frozen=True)
class Comparison(Generic[F]):
    """Features of two samples and their division into halves.

    A domain whose metrics need more, such as a geometry, derives from it.

    Attributes:
        reference, generated: features of all samples.
        halves: which samples are compared with which.
        seed: of every random choice; each metric has its own random generator.

    Two samples of one number each:

    >>> from maquette.core.statistics.comparison import halves
    >>> rng = np.random.default_rng(0)
    >>> c = Comparison(rng.normal(5, 1, 200), rng.normal(6, 1, 200), halves(200, 200, rng), seed=0)
    >>> c
    Comparison(reference=200, generated=200, halves=100, seed=0)
    >>> sums = lambda x: lambda rows: np.array([len(rows), x[rows].sum()])
    >>> ratio = c.measure("mean", lambda g, r: (g[1] / g[0]) / (r[1] / r[0]), sums, distance=False)
    >>> estimate = c.estimate(ratio, "Mean, generated over reference.", better="floor")
    >>> round(estimate.value, 1), round(estimate.floor, 1)
    (1.2, 1.0)
    """

    reference: F
    generated: F
    halves: Halves
    seed: int

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(reference={len(self.reference)}, generated={len(self.generated)}, "
            f"halves={self.halves.n}, seed={self.seed})"
        )

    def rng(self, name: str) -> np.random.Generator:
        """The random generator of a metric."""
        return np.random.default_rng([self.seed, crc32(name.encode())])

    def sums(self, of: Summed[F]) -> tuple[Values, Values]:
        """Group sums (reference, generated); `of(features)` returns the function of indices that sums."""
        reference, generated = of(self.reference), of(self.generated)
        return (
            np.stack([group_sums(reference, part) for part in self.halves.reference]),
            np.stack([group_sums(generated, part) for part in self.halves.generated]),
        )

    def measure(self, name: str, figure: Figure, of: Summed[F], *, distance: bool) -> Contrast:
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
        of: Summed[F],
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
