"""The law of each voxel by itself, as a monotone map between log energies and a standard normal coordinate.

A voxel is hit with probability p. Its coordinate z is standard normal over the data: below the voxel's boundary
b = Phi^-1(1 - p) it is empty, above it the height h (a log energy, >= 0) is tabulated at equal steps of z and joined
by straight lines. What remains for a network to learn is how voxels depend on one another and on the condition.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_STEPS = 32  # pieces of a voxel's table
_BINS = 512  # of the histograms the tables are made from
_TOP = 4.5  # largest coordinate of a table; beyond it the last piece goes on
_LEAST = 1e-6  # no voxel is hit less often, or more often than 1 - _LEAST


class HeightHistogram:
    """Counts of heights per cell, accumulated over blocks; what `Marginals.fit` reads.

    Args:
        cells: shape of the cells, such as (L, N).
        top: largest height there can be.
    """

    def __init__(self, cells: tuple[int, ...], top: float) -> None:
        self.top, self.seen = top, 0
        self.counts = torch.zeros((*cells, _BINS), dtype=torch.float64)

    def add(self, height: Tensor, hit: Tensor) -> None:
        """Count the heights (B, *cells) of the cells that were hit."""
        self.seen += len(height)
        place = (height / self.top * _BINS).long().clamp(0, _BINS - 1)
        cell = torch.arange(hit[0].numel()).view(hit.shape[1:]).expand_as(hit)
        flat = (cell * _BINS + place)[hit]
        self.counts += torch.bincount(flat, minlength=self.counts.numel()).view_as(self.counts)


class Marginals(nn.Module):
    """Maps of all cells; fitted tables lie in buffers.

    Args:
        cells: shape of the cells, (L, N).
    """

    boundary: Tensor  # (L, N): coordinate at which a cell begins to be hit
    step: Tensor  # (L, N): of the table, in z
    heights: Tensor  # (L, N, _STEPS + 1): increasing, from 0

    def __init__(self, cells: tuple[int, int]) -> None:
        super().__init__()
        self.register_buffer("boundary", torch.zeros(cells))
        self.register_buffer("step", torch.ones(cells))
        self.register_buffer("heights", torch.zeros(*cells, _STEPS + 1))

    def fit(self, histogram: HeightHistogram) -> None:
        """Make the tables; cells that are rarely hit lean on the law of their layer."""
        counts = histogram.counts
        layer = counts.sum(1, keepdim=True) + 1e-9
        rate = (counts.sum(-1) / histogram.seen).clamp(_LEAST, 1 - _LEAST)
        counts = counts + layer / layer.sum(-1, keepdim=True)
        boundary = torch.special.ndtri(1 - rate)
        step = (_TOP - boundary) / _STEPS
        z = boundary[..., None] + step[..., None] * torch.arange(_STEPS + 1)
        level = ((torch.special.ndtr(z) - (1 - rate[..., None])) / rate[..., None]).clamp(0, 1)
        edges = torch.linspace(0, histogram.top, _BINS + 1, dtype=torch.float64)
        heights = _quantile(counts, edges, level)
        heights[..., 0] = 0
        # strictly increasing, or the map would have no inverse
        heights = torch.cummax(heights, dim=-1).values + 1e-4 * torch.arange(_STEPS + 1)
        self.boundary.copy_(boundary)
        self.step.copy_(step)
        self.heights.copy_(heights)

    def coordinate(self, height: Tensor, hit: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Heights (B, L, N) of hit cells, and noise (B, L, N) for the others, to (coordinates, log slope).

        The log slope is log |dz/dh| for a hit and log |dz/du| for the uniform u of an empty cell.
        """
        table = self.heights.flatten(0, 1).contiguous()
        columns = height.flatten(1).T.contiguous()
        piece = (torch.searchsorted(table, columns, right=True) - 1).clamp(0, _STEPS - 1)
        low, high = table.gather(1, piece).T, table.gather(1, piece + 1).T
        rise = (high - low).view_as(height)
        place = piece.T.view_as(height) + (height - low.view_as(height)) / rise
        z_hit = self.boundary + self.step * place
        # float64: the upper tail of an empty cell may be as thin as 1 - p
        chance = uniform.double() * torch.special.ndtr(self.boundary.double())
        z_empty = torch.special.ndtri(chance.clamp(1e-12, 1 - 1e-12)).to(height.dtype)
        slope_hit = (self.step / rise).log()
        slope_empty = torch.special.log_ndtr(self.boundary) + 0.5 * z_empty.square() + 0.5 * _LOG_TWO_PI
        return torch.where(hit, z_hit, z_empty), torch.where(hit, slope_hit, slope_empty)

    def height(self, z: Tensor) -> Tensor:
        """Coordinates (B, L, N) to heights; negative ones, by the distance to the boundary, for empty cells."""
        place = (z - self.boundary) / self.step
        piece = place.floor().clamp(0, _STEPS - 1)
        index = piece.long()
        table = self.heights.expand(len(z), -1, -1, -1)
        low = table.gather(3, index[..., None])[..., 0]
        high = table.gather(3, index[..., None] + 1)[..., 0]
        return torch.where(place < 0, z - self.boundary, low + (high - low) * (place - piece))


_LOG_TWO_PI = 1.8378770664093453


def _quantile(counts: Tensor, edges: Tensor, level: Tensor) -> Tensor:
    """Quantiles at `level` (..., Q) of histograms `counts` (..., bins), linear within bins."""
    cumulative = counts.cumsum(-1)
    cumulative = cumulative / cumulative[..., -1:]
    place = torch.searchsorted(cumulative, level.contiguous()).clamp(max=counts.shape[-1] - 1)
    high = cumulative.gather(-1, place)
    low = torch.where(place > 0, cumulative.gather(-1, (place - 1).clamp(min=0)), torch.zeros_like(high))
    inside = ((level - low) / (high - low).clamp(min=1e-15)).clamp(0, 1)
    return edges[place] + inside * (edges[1] - edges[0])
