"""Distances to nearest neighbours: does a generator copy what it has seen?"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray


def nearest_distance(x: NDArray, others: NDArray, block: int = 512) -> NDArray[np.float64]:
    """Euclidean distance of each row of x (n, F) to the nearest row of `others` (m, F); shape (n,).

    A matrix product finds the candidate, and as differences of squares lose digits in float32 where rows nearly
    coincide, its distance is measured again directly: an exact copy is at 0.
    """
    centre = torch.as_tensor(others, dtype=torch.float32).mean(0)
    rows, pool = (torch.as_tensor(array, dtype=torch.float32) - centre for array in (x, others))
    found = []
    for part in rows.split(block):
        nearest = pool[torch.cdist(part, pool, compute_mode="use_mm_for_euclid_dist").argmin(1)]
        found.append((part - nearest).double().norm(dim=1))
    return torch.cat(found).numpy()
