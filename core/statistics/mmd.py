"""Maximum mean discrepancy with the polynomial kernel of the kernel physics distance (KPD)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DEGREE = 4


def polynomial_kernel(x: Floats, y: Floats) -> Floats:
    """(x . y / F + 1)^4 of x (n, F) and y (m, F), shape (n, m).

    Source: Kansal et al., Phys. Rev. D 107 (2023) 076017, arXiv:2211.10295.

    >>> polynomial_kernel(np.array([[1.0, 1.0]]), np.array([[1.0, 1.0], [1.0, -1.0]])).tolist()
    [[16.0, 1.0]]
    """
    return (x @ y.T / x.shape[1] + 1) ** DEGREE


class GroupedKernel:
    """Unbiased squared MMD between unions of groups of samples; the kernel is evaluated only once.

    A union is given as the sum of its groups' unit vectors. Adding or subtracting a unit vector adds or leaves out a
    group, as with counts.

    Args:
        groups: samples of each group, (n_i, F).

    Source: Gretton et al., JMLR 13 (2012) 723, equation 3.

    >>> rng = np.random.default_rng(0)
    >>> kernel = GroupedKernel([rng.normal(size=(50, 2)), rng.normal(size=(50, 2)), rng.normal(3, 1, size=(50, 2))])
    >>> a, b, c = kernel.units
    >>> kernel.mmd2(a, b) < 1 < kernel.mmd2(a + b, c)
    True
    """

    def __init__(self, groups: Sequence[Floats]) -> None:
        count = len(groups)
        self.units: Floats = np.eye(count)
        self._sizes = np.array([len(group) for group in groups], dtype=np.float64)
        self._selves = np.zeros(count)
        self._sums = np.zeros((count, count))
        x, group_of = np.concatenate(groups), np.repeat(np.arange(count), self._sizes.astype(np.int64))
        for i, one in enumerate(groups):  # each group with itself and all that follow
            self._selves[i] = ((np.square(one).sum(1) / one.shape[1] + 1) ** DEGREE).sum()
            later = group_of >= i
            sums = polynomial_kernel(one, x[later]).sum(0)
            self._sums[i, i:] = np.bincount(group_of[later], weights=sums, minlength=count)[i:]
            self._sums[i:, i] = self._sums[i, i:]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(groups={len(self.units)}, samples={int(self._sizes.sum())})"

    def mmd2(self, x: Floats, y: Floats) -> float:
        """Squared MMD of two disjoint unions, given as sums of `units`; it may be negative, because it is unbiased."""
        within = 0.0
        for union in (x, y):
            n = union @ self._sizes
            within += (union @ self._sums @ union - union @ self._selves) / (n * (n - 1))
        return float(within - 2 * (x @ self._sums @ y) / ((x @ self._sizes) * (y @ self._sizes)))
