"""How showers of an exported file differ from those of the sampler: by rounding, and by hits that it flips.

`decode` keeps the energy of each layer and gives it to as many voxels as the hit count says. Where two voxels are
nearly equal, rounding decides which is hit, and the energy of one moves to others of its layer.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...disagreement import LARGEST_DIFFERENCE, Difference, Disagreement, largest_or_infinite

LARGEST_FLIPPED = 1e-5
"""Largest fraction of voxels that may be hit on one side only."""


def flips(expected: Tensor, found: Tensor, incident: Tensor, layer: Tensor) -> Disagreement:
    """Differences of deposits and of layer energies over the incident energy, and the fraction of flipped voxels.

    A flip moves what it gains or loses to other voxels of its layer, so these are compared by their sum. Where rounding
    decides whether a whole layer is empty, nothing of that shower can be compared; the fraction of flips bounds how
    often.

    Args:
        expected: the sampler's deposits, (B, voxels), MeV.
        found: the file's deposits, (B, voxels), MeV.
        incident: incident energies, (B, 1), MeV.
        layer: index of each voxel's layer, (voxels,).

    >>> expected, found = torch.tensor([[1.0, 0.0, 2.0]]), torch.tensor([[0.0, 1.0, 2.0]])
    >>> found = flips(expected, found, incident=torch.ones(1, 1), layer=torch.tensor([0, 0, 1]))
    >>> {name: round(one.value, 2) for name, one in found.items()}  # a hit moved to the next voxel of its layer
    {'largest_difference': 0.0, 'largest_difference_of_sums': 0.0, 'flipped': 0.67}
    """
    empty = torch.zeros(len(expected), int(layer.max()) + 1, dtype=torch.float64)

    def total(values: Tensor) -> Tensor:
        return empty.index_add(1, layer, values.double())

    flipped = (expected == 0) != (found == 0)
    switched = ((total(expected) == 0) != (total(found) == 0)).any(dim=1, keepdim=True)
    error = found.double() - expected.double()
    layers = total(error).abs().masked_fill(switched, 0.0) / incident
    comparable = (total(flipped) == 0).index_select(1, layer) & ~switched
    voxels = error.abs().masked_fill(~comparable, 0.0) / incident
    # what is masked above may not hide a NaN
    spoilt = torch.where(found.isfinite(), 0.0, torch.inf)
    return {
        "largest_difference": Difference(
            largest_or_infinite(voxels + spoilt), LARGEST_DIFFERENCE, "the incident energy"
        ),
        "largest_difference_of_sums": Difference(
            largest_or_infinite(layers), LARGEST_DIFFERENCE, "the incident energy"
        ),
        "flipped": Difference(flipped.double().mean().item(), LARGEST_FLIPPED, "the voxels"),
    }
