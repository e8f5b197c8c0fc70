"""Maximum mean discrepancy with the polynomial kernel of the kernel physics distance (KPD)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DEGREE = 4


def polynomial_kernel(x: Floats, y: Floats) -> Floats:
    """(x . y / F + 1)^4 of rows (n, F) and (m, F), shape (n, m).

    Source: Kansal et al., Phys. Rev. D 107 (2023) 076017, arXiv:2211.10295.
    """
    return (x @ y.T / x.shape[1] + 1) ** DEGREE


class GroupedKernel:
    """Unbiased squared MMD between unions of groups of rows, after one evaluation of the kernel.

    A union is the sum of its groups' unit vectors, so unions are joined, split and left out of as counts are.

    Args:
        groups: arrays of rows, (n_i, F).

    Source: Gretton et al., JMLR 13 (2012) 723, equation 3.
    """

    def __init__(self, groups: Sequence[Floats]) -> None:
        count = len(groups)
        self.units: Floats = np.eye(count)
        self._sizes = np.array([len(group) for group in groups], dtype=np.float64)
        self._selves = np.zeros(count)
        self._sums = np.zeros((count, count))
        rows, group_of = np.concatenate(groups), np.repeat(np.arange(count), self._sizes.astype(np.int64))
        for i, one in enumerate(groups):  # each group against itself and all that follow
            self._selves[i] = ((np.square(one).sum(1) / one.shape[1] + 1) ** DEGREE).sum()
            later = group_of >= i
            columns = polynomial_kernel(one, rows[later]).sum(0)
            self._sums[i, i:] = np.bincount(group_of[later], weights=columns, minlength=count)[i:]
            self._sums[i:, i] = self._sums[i, i:]

    def mmd2(self, x: Floats, y: Floats) -> float:
        """Squared MMD of two disjoint unions, given as sums of `units`; it may be negative."""
        within = 0.0
        for union in (x, y):
            n = union @ self._sizes
            within += (union @ self._sums @ union - union @ self._selves) / (n * (n - 1))
        return float(within - 2 * (x @ self._sums @ y) / ((x @ self._sizes) * (y @ self._sizes)))
