"""Histograms with equal bins over the bulk of the reference, and the separation power between two of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating]
Counts = NDArray[np.float64]

BULK = (0.1, 99.9)
"""Percentiles of the reference between which the bins lie."""


@dataclass(frozen=True)
class Binning:
    """Equal bins for each of F features, with an underflow and an overflow bin.

    Attributes:
        low: lower edge of the first bin, shape (F,).
        high: upper edge of the last bin, shape (F,).
        bins: number of equal bins between them; a histogram has `bins + 2` entries.

    >>> binning = Binning.of(np.linspace(0, 1, 1001)[:, None], bins=4)
    >>> binning.count([[0.3], [0.3], [2.0]]).tolist()
    [[0.0, 0.0, 2.0, 0.0, 0.0, 1.0]]
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    bins: int = 50

    @classmethod
    def of(cls, reference: ArrayLike, bins: int = 50) -> Binning:
        """Bins over the central 99.8 % of the reference (n, F); narrow ones around the value of a constant feature."""
        low, high = np.percentile(np.asarray(reference, dtype=np.float64), BULK, axis=0)
        width = np.where(high > low, high - low, np.maximum(np.abs(low), 1.0) * 1e-6)
        return cls(low, low + width, bins)

    def index(self, values: ArrayLike) -> NDArray[np.int64]:
        """Bin of each of the values (n, F), from 0 (underflow) to bins + 1 (overflow), shape (n, F)."""
        position = (np.asarray(values, dtype=np.float64) - self.low) / (self.high - self.low) * self.bins
        inner = np.where(position == self.bins, self.bins - 1, np.floor(position))  # the last bin is closed
        return (np.clip(inner, -1, self.bins) + 1).astype(np.int64)

    def count(self, values: ArrayLike) -> Counts:
        """Histogram of each feature: values (n, F) to counts (F, bins + 2). Counts of disjoint samples can be added."""
        index = self.index(values)
        size, features = self.bins + 2, index.shape[1]
        flat = index + size * np.arange(features)
        return np.bincount(flat.ravel(), minlength=size * features).reshape(features, size).astype(np.float64)

    @property
    def edges(self) -> NDArray[np.float64]:
        """Edges of the inner bins, shape (F, bins + 1)."""
        return np.linspace(self.low, self.high, self.bins + 1, axis=-1)


def separation_power(p: ArrayLike, q: ArrayLike) -> NDArray[np.float64]:
    """Separation power 1/2 sum (p - q)^2 / (p + q) of normalised histograms: 0 if equal, 1 if disjoint.

    Args:
        p, q: counts, shape (..., bins); each is normalised here. An empty histogram gives NaN.

    Returns:
        Shape (...).

    Source: Krause et al., CaloChallenge 2022, arXiv:2410.21611, section 4.

    >>> separation_power([1, 1, 0], [1, 1, 0]).item(), separation_power([1, 0], [0, 3]).item()
    (0.0, 1.0)
    """
    one, other = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        one, other = one / one.sum(-1, keepdims=True), other / other.sum(-1, keepdims=True)
        terms = np.where(one + other == 0, 0.0, (one - other) ** 2 / (one + other))
    return 0.5 * terms.sum(-1)
