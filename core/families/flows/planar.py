"""Planar and radial flows: many weak steps, each along one direction or around one point.

Rezende & Mohamed, "Variational inference with normalizing flows", arXiv:1505.05770, section 4.1 and appendix A. Here
each step goes from data towards noise, so that a density takes one pass. The inverse of a planar step is the root of
one increasing function of one variable (found by bisection and Newton's method), that of a radial step the positive
root of a quadratic.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from ...layout import Layout
from ...samplers.roots import invert
from ...spaces import Space
from .. import families
from .bijection import Bijection, LazyTransform
from .elementwise import ContextParameter
from .flow import Flow, FlowConfig

_UNIT = math.log(math.expm1(1.0))  # softplus(_UNIT) = 1


def _above_minus_one(raw: Tensor) -> Tensor:
    """softplus - 1, shifted to be zero at zero, and at least 1e-6 above -1, which float32 resolves."""
    return F.softplus(raw + _UNIT).clamp(min=1e-6) - 1


class PlanarTransform(Bijection):
    """y = x + u tanh(w x + b) with w u > -1.

    Args:
        parameters: w (D), unconstrained u (D) and b, shape (..., 2 D + 1); u of zero gives the identity.

    >>> planar = PlanarTransform(torch.tensor([1.0, 0.0, 2.0, 0.0, 0.5]))  # w, u, b
    >>> x = torch.tensor([[0.3, -1.0]])
    >>> torch.allclose(planar.inverse(planar(x)), x, atol=1e-6)
    True
    """

    def __init__(self, parameters: Tensor) -> None:
        super().__init__()
        d = parameters.shape[-1] // 2
        self.w, u, self.b = parameters[..., :d], parameters[..., d : 2 * d], parameters[..., 2 * d]
        product = (self.w * u).sum(-1)
        self.product = _above_minus_one(product)  # of w and the constrained u
        self.u = u + ((self.product - product) / self.w.square().sum(-1)).unsqueeze(-1) * self.w

    def _projected(self, wx: Tensor) -> tuple[Tensor, Tensor]:
        """w y (...) as a function of w x (...), and the log of its slope."""
        tanh = torch.tanh(wx + self.b)
        return wx + self.product * tanh, torch.log1p(self.product * (1 - tanh * tanh))

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        wx = (self.w * x).sum(-1)
        return x + self.u * torch.tanh(wx + self.b).unsqueeze(-1), self._projected(wx)[1]

    def inverse(self, y: Tensor) -> Tensor:
        wy = (self.w * y).sum(-1)
        largest = self.product.detach().abs()  # |w y - w x| is no larger
        wx = invert(self._projected, wy, wy.detach() - largest, wy.detach() + largest)
        return y - self.u * torch.tanh(wx + self.b).unsqueeze(-1)


class RadialTransform(Bijection):
    """y = x + beta (x - m) / (alpha + |x - m|) with alpha > 0 and beta > -alpha.

    Args:
        parameters: m (D), and unconstrained alpha and beta, shape (..., D + 2); beta of zero gives the identity.

    >>> radial = RadialTransform(torch.tensor([0.0, 0.0, 1.0, 2.0]))  # m, alpha, beta
    >>> x = torch.tensor([[0.3, -1.0]])
    >>> torch.allclose(radial.inverse(radial(x)), x, atol=1e-6)
    True
    """

    def __init__(self, parameters: Tensor) -> None:
        super().__init__()
        self.center = parameters[..., :-2]
        self.alpha = F.softplus(parameters[..., -2])
        self.beta = self.alpha * _above_minus_one(parameters[..., -1])

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        offset = x - self.center
        h = 1 / (self.alpha + offset.norm(dim=-1))  # the paper's h(alpha, r)
        tangential = torch.log1p(self.beta * h)
        radial = torch.log1p(self.alpha * self.beta * h * h)  # d(r + beta r / (alpha + r)) / dr
        return x + (self.beta * h).unsqueeze(-1) * offset, (x.shape[-1] - 1) * tangential + radial

    def inverse(self, y: Tensor) -> Tensor:
        offset = y - self.center
        distance = offset.norm(dim=-1)  # r + beta r / (alpha + r), to be solved for r
        half = (self.alpha + self.beta - distance) / 2
        root = (half * half + self.alpha * distance).sqrt()
        # of the two forms of the positive root, the one without cancellation
        radius = torch.where(half > 0, self.alpha * distance / (root + half.clamp(min=0)), root - half.clamp(max=0))
        return self.center + offset / (1 + self.beta / (self.alpha + radius)).unsqueeze(-1)


class _Step(LazyTransform):
    """Lazy planar or radial step with parameters linear in the context; starts as the identity."""

    def __init__(self, layout: Layout, shape: Literal["planar", "radial"]) -> None:
        super().__init__()
        d = layout.features
        self.transform = PlanarTransform if shape == "planar" else RadialTransform
        direction_or_center = torch.randn(d) / (math.sqrt(d) if shape == "planar" else 1.0)
        others = torch.zeros(d + 1) if shape == "planar" else torch.tensor([_UNIT, 0.0])
        self.parameter = ContextParameter(torch.cat((direction_or_center, others)), layout.context_features)

    def forward(self, context: Tensor | None) -> Bijection:
        return self.transform(self.parameter(context))

    def extra_repr(self) -> str:
        return self.transform.__name__


@families.register("planar")
class PlanarConfig(FlowConfig):
    """Planar or radial flow.

    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> flow = PlanarConfig(shape="radial", steps=4).build(Vector(dim=2))
    >>> x = flow.sample(5, noise=KeyedNoise(0, torch.arange(5)))
    >>> x.shape, flow.log_prob(x).shape
    (torch.Size([5, 2]), torch.Size([5]))
    """

    summary: ClassVar[str] = "many weak steps, each along one direction (planar) or around one point (radial)"
    reference: ClassVar[str] = "Rezende & Mohamed, arXiv:1505.05770"

    kind: Literal["planar"] = "planar"
    shape: Literal["planar", "radial"] = Field(default="planar", description="steps along directions or around points")
    steps: int = Field(default=32, ge=1, description="number of steps")

    def build(self, space: Space, condition: Space | None = None) -> Flow:
        layout = Layout(space, condition)
        return Flow(layout, (_Step(layout, self.shape) for _ in range(self.steps)), self.base.build(layout))

    @classmethod
    def example(cls) -> PlanarConfig:
        return cls(steps=4)
