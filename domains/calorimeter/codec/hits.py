"""Stage two of the codec: the excesses of hits above the cut, and hits placed back into their layers."""

from __future__ import annotations

import torch
from torch import Tensor


def excesses(x: Tensor, cut: Tensor) -> Tensor:
    """w = e / cut - 1 of deposits e (MeV, any shape), at least a millionth.

    >>> excesses(torch.tensor([2.0, 3.0]), torch.tensor(2.0))
    tensor([1.0000e-06, 5.0000e-01])
    """
    return (x / cut - 1).clamp(min=1e-6)


def place_hits(heights: Tensor, counts: Tensor, energies: Tensor, cut: Tensor) -> Tensor:
    """Deposits (B, L, N), MeV: the largest heights of a layer become hits, their excesses scaled to its energy.

    A layer with too little energy for its count loses hits; one below the cut is empty.

    Args:
        heights: (B, L, N); -inf where there is no cell.
        counts: hits of each layer, (B, L).
        energies: of each layer, (B, L), MeV.
        cut: smallest deposit of a hit, MeV.

    >>> heights, counts, energies = torch.tensor([[[0.5, -1.0, 1.0]]]), torch.tensor([[2]]), torch.tensor([[5.0]])
    >>> x = place_hits(heights, counts, energies, cut=torch.tensor(1.0))
    >>> (x > 0).tolist(), round(x.sum().item(), 5)
    ([[[True, False, True]]], 5.0)
    """
    units = energies[:, :, None] / cut
    counts = torch.minimum(counts[:, :, None], (units * (1 + 1e-6)).floor().long())
    rank = heights.argsort(2, descending=True).argsort(2)
    hit = (rank < counts).to(heights.dtype)
    # where all excesses are zero, the largest hit takes the layer's energy
    excess = hit * (torch.expm1(heights.clamp(0, 40)) + (rank == 0) * 1e-6)
    scale = (units - counts).clamp(min=0) / excess.sum(2, keepdim=True).clamp(min=1e-12)
    return cut * (hit + excess * scale)
