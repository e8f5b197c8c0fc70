"""The marginal distribution of each feature, as a monotone map between its values and a standard normal coordinate.

A feature is present with probability p, and absent otherwise: an atom, such as a cell without a hit. Its coordinate z
is standard normal over the data. Below the feature's boundary b = Phi^-1(1 - p) it is absent; above it, the value is
tabulated at equal steps of z and interpolated linearly, so that lines and long tails stay as they are. A network then
only has to learn how features depend on one another and on the condition.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_STEPS = 128  # pieces of a feature's table: fine enough for lines in a spectrum
_BINS = 1024  # of the histograms from which the tables are computed
_TOP = 4.5  # tables extend at least to this z; the last piece is extrapolated
_MIN_RATE = 1e-6  # smallest probability of being present; the largest is 1 - _MIN_RATE


class MarginalHistogram:
    """Histograms of the values of each feature, accumulated over blocks, for `MarginalMap.fit`.

    Args:
        group: of each feature, int64 (F,), from 0: features that are rarely present follow their group.
        low, high: smallest and largest possible value, of data yet to come too.
        resolution: least difference between neighbours in a table; a spectral line gets this width.
    """

    def __init__(self, group: Tensor, *, low: float, high: float, resolution: float) -> None:
        self.group, self.low, self.high, self.resolution, self.samples = group, low, high, resolution, 0
        self.counts = torch.zeros(len(group), _BINS, dtype=torch.float64)

    def add(self, value: Tensor, present: Tensor) -> None:
        """Count the values (B, F) where they are present (B, F)."""
        self.samples += len(value)
        index = ((value - self.low) / (self.high - self.low) * _BINS).long().clamp(0, _BINS - 1)
        flat = (torch.arange(len(self.group)) * _BINS + index)[present]
        self.counts += torch.bincount(flat, minlength=self.counts.numel()).view_as(self.counts)


class MarginalMap(nn.Module):
    """The maps of all features; the fitted tables are buffers.

    Args:
        features: F.

    >>> generator = torch.Generator().manual_seed(0)
    >>> value, uniform = torch.randn(500, 2, generator=generator), torch.rand(500, 2, generator=generator)
    >>> present = value > -0.5
    >>> histogram = MarginalHistogram(torch.tensor([0, 0]), low=-0.5, high=5.0, resolution=1e-4)
    >>> histogram.add(value, present)
    >>> marginals = MarginalMap(2)
    >>> marginals.fit(histogram)
    >>> z = marginals.coordinate(value, present, uniform)
    >>> z.mean().abs() < 0.1, (z.std() - 1).abs() < 0.1
    (tensor(True), tensor(True))
    >>> torch.allclose(marginals.value(z)[present], value[present], atol=1e-4)
    True
    """

    boundary: Tensor  # (F,): coordinate above which a feature is present
    step: Tensor  # (F,): of the table, in z
    heights: Tensor  # (F, _STEPS + 1): the table, of increasing values

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("boundary", torch.zeros(features))
        self.register_buffer("step", torch.ones(features))
        self.register_buffer("heights", torch.zeros(features, _STEPS + 1))

    def extra_repr(self) -> str:
        return f"features={len(self.boundary)}"

    def fit(self, histogram: MarginalHistogram) -> None:
        """Compute the tables; features that are rarely present follow the distribution of their group."""
        counts, group = histogram.counts, histogram.group
        rate = (counts.sum(1) / histogram.samples).clamp(_MIN_RATE, 1 - _MIN_RATE)
        pooled = torch.zeros(int(group.max()) + 1, _BINS, dtype=torch.float64).index_add_(0, group, counts) + 1e-9
        counts = counts + (pooled / pooled.sum(1, keepdim=True))[group]
        boundary = torch.special.ndtri(1 - rate)
        step = ((boundary + 1).clamp(min=_TOP) - boundary) / _STEPS
        z = boundary[:, None] + step[:, None] * torch.arange(_STEPS + 1)
        level = ((torch.special.ndtr(z) - (1 - rate[:, None])) / rate[:, None]).clamp(0, 1)
        edges = torch.linspace(histogram.low, histogram.high, _BINS + 1, dtype=torch.float64)
        heights = _quantile(counts, edges, level)
        heights[:, 0] = histogram.low
        # strictly increasing, so that the map has an inverse
        heights = torch.cummax(heights, dim=1).values + histogram.resolution * torch.arange(_STEPS + 1)
        self.boundary.copy_(boundary)
        self.step.copy_(step)
        self.heights.copy_(heights)

    def coordinate(self, value: Tensor, present: Tensor, uniform: Tensor) -> Tensor:
        """Values (B, F) where a feature is present, and uniform noise (B, F) where not, to coordinates (B, F)."""
        low, high, piece = self._piece(value)
        z_present = self.boundary + self.step * (piece + (value - low) / (high - low))
        # below one in float32 even after rounding
        probability = (uniform * torch.special.ndtr(self.boundary)).clamp(1e-12, 1 - 1e-7)
        return torch.where(present, z_present, torch.special.ndtri(probability))

    def log_slope(self, value: Tensor, present: Tensor, z: Tensor) -> Tensor:
        """log |dz/dvalue| of present features, log |dz/duniform| of the others, at coordinates z; all (B, F)."""
        low, high, _ = self._piece(value)
        of_absent = torch.special.log_ndtr(self.boundary) + 0.5 * z.square() + 0.5 * math.log(2 * math.pi)
        return torch.where(present, (self.step / (high - low)).log(), of_absent)

    def _piece(self, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Both ends and the index of the piece that contains each value."""
        piece = (torch.searchsorted(self.heights, value.T.contiguous(), right=True) - 1).clamp(0, _STEPS - 1)
        return self.heights.gather(1, piece).T, self.heights.gather(1, piece + 1).T, piece.T

    def value(self, z: Tensor) -> Tensor:
        """Coordinates (B, F) to values; absent features get the smallest one less the distance to the boundary."""
        position = (z - self.boundary) / self.step
        piece = position.floor().clamp(0, _STEPS - 1)
        # indices into one flat table: onnxruntime would copy a table that is expanded for every sample
        first = torch.arange(z.shape[1], device=z.device) * (_STEPS + 1)
        index, table = first + piece.long(), self.heights.flatten()
        low, high = table[index], table[index + 1]
        absent = self.heights[:, 0] + (z - self.boundary)
        return torch.where(position < 0, absent, low + (high - low) * (position - piece))


def _quantile(counts: Tensor, edges: Tensor, level: Tensor) -> Tensor:
    """Quantiles at `level` (..., Q) of histograms `counts` (..., bins), linear within bins."""
    cumulative = counts.cumsum(-1)
    cumulative = cumulative / cumulative[..., -1:]
    index = torch.searchsorted(cumulative, level.contiguous()).clamp(max=counts.shape[-1] - 1)
    high = cumulative.gather(-1, index)
    low = torch.where(index > 0, cumulative.gather(-1, (index - 1).clamp(min=0)), torch.zeros_like(high))
    inside = ((level - low) / (high - low).clamp(min=1e-15)).clamp(0, 1)
    return edges[index] + inside * (edges[1] - edges[0])
