"""Linear flows: an invertible matrix, kept as the factors of its LU decomposition.

Kingma & Dhariwal, "Glow", arXiv:1807.03039, section 3.2: W = P L (U + diag s) with a fixed permutation P, unit
triangular L and U, and signs of s that stay. The determinant is a sum and the inverse two substitutions. Along the
channels of an image it is the invertible 1x1 convolution; on all numbers of a sample, with a shift that is linear in
the condition, a Gaussian of full covariance.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Transform

from ...layout import Layout
from ...spaces import Space
from .. import families
from .bijection import Bijection
from .elementwise import Additive, Alone
from .flow import Flow, FlowConfig


class LUTransform(Bijection):
    """y = P L U x along the channels of rows (..., C N), which lie as C times N numbers.

    Args:
        order: the permutation as places, (C,): row c of L U becomes row order[c].
        lower: unit lower triangular, (C, C).
        upper: upper triangular with the diagonal s, (C, C).
        log_scale: log |s|, (C,).
    """

    def __init__(self, order: Tensor, lower: Tensor, upper: Tensor, log_scale: Tensor) -> None:
        super().__init__()
        self.order, self.lower, self.upper, self.log_scale = order, lower, upper, log_scale

    def _channels(self, rows: Tensor) -> Tensor:
        return rows.unflatten(-1, (len(self.order), -1))

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        channels = self._channels(x)
        mixed = (self.lower @ self.upper) @ channels
        log_det = channels.shape[-1] * self.log_scale.sum()
        return mixed[..., self.order.argsort(), :].flatten(-2), log_det.expand_as(x[..., 0])

    def _inverse(self, y: Tensor) -> Tensor:
        mixed = self._channels(y)[..., self.order, :]
        half = torch.linalg.solve_triangular(self.lower, mixed, upper=False, unitriangular=True)
        return torch.linalg.solve_triangular(self.upper, half, upper=True).flatten(-2)


class Mixing(nn.Module):
    """Lazy linear map of channels.

    Args:
        start: the matrix (C, C) it starts as, invertible.
    """

    order: Tensor
    signs: Tensor

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        permutation, lower, upper = torch.linalg.lu(start)
        scale = upper.diagonal()
        self.register_buffer("order", permutation.argmax(dim=0))  # P[order[c], c] = 1
        self.register_buffer("signs", scale.sign())
        self.lower = nn.Parameter(lower[self._triangle(-1)].clone())
        self.upper = nn.Parameter(upper.T[self._triangle(-1)].clone())
        self.log_scale = nn.Parameter(scale.abs().log())

    def _triangle(self, diagonal: int) -> tuple[Tensor, Tensor]:
        """Rows and columns of the numbers below a diagonal of a (C, C) matrix."""
        c = len(self.order)
        return tuple(torch.tril_indices(c, c, diagonal, device=self.order.device))  # type: ignore[return-value]

    def forward(self, context: Tensor | None) -> Transform:
        empty, places = torch.diag_embed(torch.zeros_like(self.log_scale)), self._triangle(-1)
        lower = empty.index_put(places, self.lower) + torch.diag_embed(torch.ones_like(self.log_scale))
        upper = empty.index_put(places, self.upper).T + torch.diag_embed(self.signs * self.log_scale.exp())
        return LUTransform(self.order, lower, upper, self.log_scale)


@families.register("linear")
class LinearConfig(FlowConfig):
    """An invertible matrix and a shift linear in the condition."""

    summary: ClassVar[str] = "an invertible matrix by its LU factors: a Gaussian of full covariance"
    reference: ClassVar[str] = "Kingma & Dhariwal, arXiv:1807.03039, section 3.2"

    kind: Literal["linear"] = "linear"

    def build(self, space: Space, condition: Space | None = None) -> Flow:
        layout = Layout(space, condition)
        transforms = [Mixing(torch.eye(layout.features)), Alone(layout, Additive())]
        return Flow(layout, transforms, self.base.build(layout))
