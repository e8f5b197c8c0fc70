"""Linear flows: an invertible matrix, parametrised by its LU decomposition.

Kingma & Dhariwal, "Glow", arXiv:1807.03039, section 3.2: W = P L (U + diag s) with a fixed permutation P, unit
triangular L and U, and fixed signs of s. The log-determinant is a sum, the inverse two substitutions. Along the
channels of an image this is the invertible 1x1 convolution. On all features of a sample, with a shift that is linear in
the context, the flow is a Gaussian with full covariance.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ...layout import Layout
from ...spaces import Space
from .. import families
from .bijection import Bijection, LazyTransform
from .elementwise import Additive, Elementwise
from .flow import Flow, FlowConfig


class _LUTransform(Bijection):
    """y = P L U x along the channels of x (..., C N), flattened from C channels of N cells.

    Args:
        order: the permutation P as indices, (C,): row c of L U becomes row order[c].
        lower: unit lower triangular, (C, C).
        upper: upper triangular with the diagonal s, (C, C).
        log_scale: log |s|, (C,).
    """

    def __init__(self, order: Tensor, lower: Tensor, upper: Tensor, log_scale: Tensor) -> None:
        super().__init__()
        self.order, self.lower, self.upper, self.log_scale = order, lower, upper, log_scale

    def _channels(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (len(self.order), -1))

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        channels = self._channels(x)
        mixed = (self.lower @ self.upper) @ channels
        log_det = channels.shape[-1] * self.log_scale.sum()
        return mixed[..., self.order.argsort(), :].flatten(-2), log_det.expand_as(x[..., 0])

    def inverse(self, y: Tensor) -> Tensor:
        mixed = self._channels(y)[..., self.order, :]
        half = torch.linalg.solve_triangular(self.lower, mixed, upper=False, unitriangular=True)
        return torch.linalg.solve_triangular(self.upper, half, upper=True).flatten(-2)


class LULinear(LazyTransform):
    """Lazy linear map of channels.

    Args:
        initial: invertible matrix (C, C), the value before training.

    >>> lazy = LULinear(torch.tensor([[0.0, 2.0], [1.0, 0.0]]))
    >>> y, ladj = lazy(None).call_and_ladj(torch.tensor([[3.0, 4.0]]))  # ladj is log 2
    >>> y.tolist(), ladj.tolist()
    ([[8.0, 3.0]], [0.6931471824645996])
    """

    order: Tensor
    signs: Tensor

    def __init__(self, initial: Tensor) -> None:
        super().__init__()
        permutation, lower, upper = torch.linalg.lu(initial)
        scale = upper.diagonal()
        self.register_buffer("order", permutation.argmax(dim=0))  # P[order[c], c] = 1
        self.register_buffer("signs", scale.sign())
        self.lower = nn.Parameter(lower[self._triangle(-1)].clone())
        self.upper = nn.Parameter(upper.T[self._triangle(-1)].clone())
        self.log_scale = nn.Parameter(scale.abs().log())

    def _triangle(self, diagonal: int) -> tuple[Tensor, Tensor]:
        """Row and column indices of the entries on and below a diagonal of a (C, C) matrix."""
        c = len(self.order)
        row, column = torch.tril_indices(c, c, diagonal, device=self.order.device)
        return row, column

    def forward(self, context: Tensor | None) -> Bijection:
        empty, below = torch.diag_embed(torch.zeros_like(self.log_scale)), self._triangle(-1)
        lower = empty.index_put(below, self.lower) + torch.diag_embed(torch.ones_like(self.log_scale))
        upper = empty.index_put(below, self.upper).T + torch.diag_embed(self.signs * self.log_scale.exp())
        return _LUTransform(self.order, lower, upper, self.log_scale)

    def extra_repr(self) -> str:
        return f"channels={len(self.order)}"


@families.register("linear")
class LinearConfig(FlowConfig):
    """An invertible matrix and a shift linear in the context.

    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> flow = LinearConfig().build(Vector(dim=2))
    >>> flow.log_prob(torch.zeros(1, 2))  # starts as the standard normal
    tensor([-1.8379], grad_fn=<AddBackward0>)
    >>> flow.sample(5, noise=KeyedNoise(0, torch.arange(5))).shape
    torch.Size([5, 2])
    """

    summary: ClassVar[str] = "an invertible matrix by its LU decomposition: a Gaussian of full covariance"
    reference: ClassVar[str] = "Kingma & Dhariwal, arXiv:1807.03039, section 3.2"

    kind: Literal["linear"] = "linear"

    def build(self, space: Space, condition: Space | None = None) -> Flow:
        layout = Layout(space, condition)
        transforms = [LULinear(torch.eye(layout.features)), Elementwise(layout, Additive())]
        return Flow(layout, transforms, self.base.build(layout))
