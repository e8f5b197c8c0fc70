"""Distances to nearest neighbours: does a generator copy what it has seen?"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray


def nearest_distance(x: NDArray, others: NDArray, block: int = 512) -> NDArray[np.float64]:
    """Euclidean distance of each row of x (n, F) to the nearest row of `others` (m, F); shape (n,).

    Differences of squares lose digits in float32 where rows nearly coincide, so the best candidate of the matrix
    product is measured again directly: an exact copy is at distance 0.
    """
    rows, pool = torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(others, dtype=torch.float32)
    found = []
    for part in rows.split(block):
        nearest = pool[torch.cdist(part, pool, compute_mode="use_mm_for_euclid_dist").argmin(1)]
        found.append((part - nearest).double().norm(dim=1))
    return torch.cat(found).numpy()
