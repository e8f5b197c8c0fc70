"""Distances to nearest neighbours, which reveal copies of training samples."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray


def nearest_distance(x: NDArray, others: NDArray, block: int = 512) -> NDArray[np.float64]:
    """Euclidean distance from each sample of x (n, F) to the nearest of `others` (m, F); shape (n,).

    Args:
        x: samples.
        others: the samples that are searched.
        block: samples of x that are compared with all others at a time; bounds the memory.

    A matrix product finds the nearest neighbour. Its distance is then computed directly, because differences of
    squares lose digits in float32 where samples nearly coincide: an exact copy has distance 0.

    >>> nearest_distance(np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[3.0, 4.0], [0.0, 1.0]])).tolist()
    [1.0, 0.0]
    """
    centre = torch.as_tensor(others, dtype=torch.float32).mean(0)
    samples, pool = (torch.as_tensor(array, dtype=torch.float32) - centre for array in (x, others))
    found = []
    for part in samples.split(block):
        nearest = pool[torch.cdist(part, pool, compute_mode="use_mm_for_euclid_dist").argmin(1)]
        found.append((part - nearest).double().norm(dim=1))
    return torch.cat(found).numpy()
