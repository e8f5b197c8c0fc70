"""Planar and radial flows: space is squeezed along a plane, or around a point, again and again.

Rezende & Mohamed, "Variational inference with normalizing flows", arXiv:1505.05770, section 4.1 and appendix A. Here
each step carries data towards noise, so that the density is one pass. Back, a planar step leaves one increasing
function of one number to solve (by halving and Newton's steps); a radial one, the positive root of a quadratic. Each
step is weak, and many are needed.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Transform
from torch.nn import functional as F

from ...layout import Layout
from ...samplers.roots import invert
from ...spaces import Space
from .. import families
from .bijection import Bijection
from .elementwise import Amortised
from .flow import Flow, FlowConfig

_UNIT = math.log(math.expm1(1.0))  # softplus of this is one


def _above_minus_one(raw: Tensor) -> Tensor:
    """softplus - 1, zero at zero; never so near -1 that single precision takes it for that."""
    return F.softplus(raw + _UNIT).clamp(min=1e-6) - 1


class PlanarTransform(Bijection):
    """y = x + u tanh(w x + b) with w u > -1.

    Args:
        parameters: w (D), unconstrained u (D) and b, shape (..., 2 D + 1); where u is zero, so is the change.
    """

    def __init__(self, parameters: Tensor) -> None:
        super().__init__()
        d = parameters.shape[-1] // 2
        self.w, u, self.b = parameters[..., :d], parameters[..., d : 2 * d], parameters[..., 2 * d]
        product = (self.w * u).sum(-1)
        self.product = _above_minus_one(product)  # of w and the u that is used
        self.u = u + ((self.product - product) / self.w.square().sum(-1)).unsqueeze(-1) * self.w

    def _along(self, height: Tensor) -> tuple[Tensor, Tensor]:
        """w y (...) as a function of w x (...), and the log of its slope."""
        bent = torch.tanh(height + self.b)
        return height + self.product * bent, torch.log1p(self.product * (1 - bent * bent))

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        height = (self.w * x).sum(-1)
        return x + self.u * torch.tanh(height + self.b).unsqueeze(-1), self._along(height)[1]

    def _inverse(self, y: Tensor) -> Tensor:
        height = (self.w * y).sum(-1)
        reach = self.product.detach().abs()
        height = invert(self._along, height, height.detach() - reach, height.detach() + reach)
        return y - self.u * torch.tanh(height + self.b).unsqueeze(-1)


class RadialTransform(Bijection):
    """y = x + beta (x - m) / (alpha + |x - m|) with alpha > 0 and beta > -alpha.

    Args:
        parameters: m (D), and unconstrained alpha and beta, shape (..., D + 2); where the last is zero, so is beta.
    """

    def __init__(self, parameters: Tensor) -> None:
        super().__init__()
        self.center = parameters[..., :-2]
        self.alpha = F.softplus(parameters[..., -2])
        self.beta = self.alpha * _above_minus_one(parameters[..., -1])

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        away = x - self.center
        pull = 1 / (self.alpha + away.norm(dim=-1))
        sideways = torch.log1p(self.beta * pull)
        outwards = torch.log1p(self.alpha * self.beta * pull * pull)  # d(r + beta r / (alpha + r)) / dr
        return x + (self.beta * pull).unsqueeze(-1) * away, (x.shape[-1] - 1) * sideways + outwards

    def _inverse(self, y: Tensor) -> Tensor:
        away = y - self.center
        far = away.norm(dim=-1)
        # far = r + beta r / (alpha + r)
        half = (self.alpha + self.beta - far) / 2
        root = (half * half + self.alpha * far).sqrt()
        # the form that does not cancel, whatever the sign of half
        radius = torch.where(half > 0, self.alpha * far / (root + half.clamp(min=0)), root - half.clamp(max=0))
        return self.center + away / (1 + self.beta / (self.alpha + radius)).unsqueeze(-1)


class Step(nn.Module):
    """Lazy planar or radial step, whose parameters are linear in the condition; starts as the identity."""

    def __init__(self, layout: Layout, shape: Literal["planar", "radial"]) -> None:
        super().__init__()
        d = layout.features
        where = torch.randn(d) / (math.sqrt(d) if shape == "planar" else 1.0)
        self.transform = PlanarTransform if shape == "planar" else RadialTransform
        rest = torch.zeros(d + 1) if shape == "planar" else torch.tensor([_UNIT, 0.0])
        self.amortised = Amortised(torch.cat((where, rest)), layout.context_features)

    def forward(self, context: Tensor | None) -> Transform:
        return self.transform(self.amortised(context))


@families.register("planar")
class PlanarConfig(FlowConfig):
    """Planar or radial flow."""

    summary: ClassVar[str] = "space squeezed along planes, or around points, one after the other"
    reference: ClassVar[str] = "Rezende & Mohamed, arXiv:1505.05770"

    kind: Literal["planar"] = "planar"
    shape: Literal["planar", "radial"] = Field(default="planar", description="squeezed along planes or around points")
    steps: int = Field(default=32, ge=1, description="number of planes or points")

    def build(self, space: Space, condition: Space | None = None) -> Flow:
        layout = Layout(space, condition)
        return Flow(layout, (Step(layout, self.shape) for _ in range(self.steps)), self.base.build(layout))

    @classmethod
    def example(cls) -> PlanarConfig:
        return cls(steps=4)
