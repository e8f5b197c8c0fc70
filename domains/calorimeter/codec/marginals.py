"""The marginal distribution of each voxel, as a monotone map between log energies and a standard normal coordinate.

A voxel is hit with probability p. Its coordinate z is standard normal over the data. Below the voxel's boundary
b = Phi^-1(1 - p) it is empty; above it, the height h (a log energy, >= 0) is tabulated at equal steps of z and
interpolated linearly. The network only has to learn how voxels depend on one another and on the condition.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_STEPS = 128  # pieces of a voxel's table: fine enough for lines in the spectrum
_BINS = 1024  # of the histograms from which the tables are computed
_TOP = 4.5  # tables extend at least to this z; the last piece is extrapolated
_MIN_RATE = 1e-6  # smallest hit probability; the largest is 1 - _MIN_RATE


class HeightHistogram:
    """Histograms of heights per voxel, accumulated over blocks, for `Marginals.fit`.

    Args:
        layer: the layer of each voxel, (V,).
        top: largest possible height.
    """

    def __init__(self, layer: Tensor, top: float) -> None:
        self.layer, self.top, self.showers = layer, top, 0
        self.counts = torch.zeros(len(layer), _BINS, dtype=torch.float64)

    def add(self, height: Tensor, hit: Tensor) -> None:
        """Count the heights (B, V) of the voxels that are hit."""
        self.showers += len(height)
        index = (height / self.top * _BINS).long().clamp(0, _BINS - 1)
        flat = (torch.arange(len(self.layer)) * _BINS + index)[hit]
        self.counts += torch.bincount(flat, minlength=self.counts.numel()).view_as(self.counts)


class Marginals(nn.Module):
    """The maps of all voxels; the fitted tables are buffers.

    Args:
        voxels: V.

    >>> histogram = HeightHistogram(torch.tensor([0, 0]), top=2.0)
    >>> height, hit = torch.rand(500, 2, generator=torch.Generator().manual_seed(0)) + 0.1, torch.ones(500, 2) > 0
    >>> histogram.add(height, hit)
    >>> marginals = Marginals(2)
    >>> marginals.fit(histogram)
    >>> z = marginals.coordinate(height, hit, torch.zeros(500, 2))
    >>> z.mean().abs() < 0.1, torch.allclose(marginals.height(z), height, atol=1e-4)
    (tensor(True), True)
    """

    boundary: Tensor  # (V,): coordinate above which a voxel is hit
    step: Tensor  # (V,): of the table, in z
    heights: Tensor  # (V, _STEPS + 1): increasing, from 0

    def __init__(self, voxels: int) -> None:
        super().__init__()
        self.register_buffer("boundary", torch.zeros(voxels))
        self.register_buffer("step", torch.ones(voxels))
        self.register_buffer("heights", torch.zeros(voxels, _STEPS + 1))

    def extra_repr(self) -> str:
        return f"voxels={len(self.boundary)}"

    def fit(self, histogram: HeightHistogram) -> None:
        """Compute the tables; voxels that are rarely hit follow the distribution of their layer."""
        counts, layer = histogram.counts, histogram.layer
        rate = (counts.sum(1) / histogram.showers).clamp(_MIN_RATE, 1 - _MIN_RATE)
        pooled = torch.zeros(int(layer.max()) + 1, _BINS, dtype=torch.float64).index_add_(0, layer, counts) + 1e-9
        counts = counts + (pooled / pooled.sum(1, keepdim=True))[layer]
        boundary = torch.special.ndtri(1 - rate)
        step = ((boundary + 1).clamp(min=_TOP) - boundary) / _STEPS
        z = boundary[:, None] + step[:, None] * torch.arange(_STEPS + 1)
        level = ((torch.special.ndtr(z) - (1 - rate[:, None])) / rate[:, None]).clamp(0, 1)
        edges = torch.linspace(0, histogram.top, _BINS + 1, dtype=torch.float64)
        heights = _quantile(counts, edges, level)
        heights[:, 0] = 0
        # strictly increasing, so that the map has an inverse
        heights = torch.cummax(heights, dim=1).values + 1e-4 * torch.arange(_STEPS + 1)
        self.boundary.copy_(boundary)
        self.step.copy_(step)
        self.heights.copy_(heights)

    def coordinate(self, height: Tensor, hit: Tensor, uniform: Tensor) -> Tensor:
        """Heights (B, V) where a voxel was hit, and uniform noise (B, V) where not, to coordinates (B, V)."""
        low, high, piece = self._piece(height)
        z_hit = self.boundary + self.step * (piece + (height - low) / (high - low))
        # below one in float32 even after rounding
        probability = (uniform * torch.special.ndtr(self.boundary)).clamp(1e-12, 1 - 1e-7)
        return torch.where(hit, z_hit, torch.special.ndtri(probability))

    def log_slope(self, height: Tensor, hit: Tensor, z: Tensor) -> Tensor:
        """log |dz/dheight| of hit voxels, log |dz/duniform| of the others, at coordinates z; all (B, V)."""
        low, high, _ = self._piece(height)
        of_empty = torch.special.log_ndtr(self.boundary) + 0.5 * z.square() + 0.5 * math.log(2 * math.pi)
        return torch.where(hit, (self.step / (high - low)).log(), of_empty)

    def _piece(self, height: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Both ends and the index of the piece that contains each height."""
        piece = (torch.searchsorted(self.heights, height.T.contiguous(), right=True) - 1).clamp(0, _STEPS - 1)
        return self.heights.gather(1, piece).T, self.heights.gather(1, piece + 1).T, piece.T

    def height(self, z: Tensor) -> Tensor:
        """Coordinates (B, V) to heights; negative ones, by the distance to the boundary, for empty voxels."""
        position = (z - self.boundary) / self.step
        piece = position.floor().clamp(0, _STEPS - 1)
        # indices into one flat table: onnxruntime would copy a table that is expanded for every shower
        first = torch.arange(z.shape[1], device=z.device) * (_STEPS + 1)
        index, table = first + piece.long(), self.heights.flatten()
        low, high = table[index], table[index + 1]
        return torch.where(position < 0, z - self.boundary, low + (high - low) * (position - piece))


def _quantile(counts: Tensor, edges: Tensor, level: Tensor) -> Tensor:
    """Quantiles at `level` (..., Q) of histograms `counts` (..., bins), linear within bins."""
    cumulative = counts.cumsum(-1)
    cumulative = cumulative / cumulative[..., -1:]
    index = torch.searchsorted(cumulative, level.contiguous()).clamp(max=counts.shape[-1] - 1)
    high = cumulative.gather(-1, index)
    low = torch.where(index > 0, cumulative.gather(-1, (index - 1).clamp(min=0)), torch.zeros_like(high))
    inside = ((level - low) / (high - low).clamp(min=1e-15)).clamp(0, 1)
    return edges[index] + inside * (edges[1] - edges[0])
