"""Residual flows: y = x + g(x) with g a contraction, and nothing else asked of g.

Behrmann et al., "Invertible residual networks", arXiv:1811.00995; Chen et al., "Residual flows", arXiv:1906.02735. The
inverse is the fixed point of x = y - g(x). The log-determinant is a series of traces of powers of g's Jacobian J,

    log det(1 + J) = sum over k of (-1)^(k+1) tr(J^k) / k,

of which training takes an unbiased estimate: a random number of terms, each weighed by one over the chance that it is
taken (Russian roulette), with one random probe v per sample for the traces. Its gradient is that of w . J v with
w = sum over k of (-1)^k (J^T)^k v held fixed (their Neumann series, eq. 8), which remembers one product instead of all.
Densities themselves are exact: they take the whole Jacobian, one product per number and step. Products J^T v are
written out: what a backward pass would compute anew for each of them is computed once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from ...config import Width
from ...data import Batch
from ...errors import SampleError
from ...layout import Layout
from ...nets import spectral
from ...noise import Noise
from ...objective import Losses, Objective, Player, Stage
from ...spaces import Space, Tree
from .. import families
from .bijection import Bijection
from .flow import Flow, FlowConfig

SHARPNESS = 5.0
"""How many times narrower than the numbers it gets a bend is at the start; one that is wider leaves a step linear."""


class LipSwish(nn.Module):
    """x sigmoid(b x) / 1.1 with a learned b > 0: smooth, bent within 1 / b of zero, and nowhere steeper than one."""

    def __init__(self, b: float) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.full((1,), b + math.log(-math.expm1(-b))))  # of one axis, that it may be sharded

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(F.softplus(self.raw) * x) / 1.1

    def slope(self, x: Tensor) -> Tensor:
        """The derivative."""
        bx = F.softplus(self.raw) * x
        s = torch.sigmoid(bx)
        return s * (1 + bx * (1 - s)) / 1.1


class Contraction(nn.Module):
    """Lazy residual step x + c g(x, condition), with g made of layers none of which stretches.

    Args:
        layout: rows and columns.
        hidden: widths of g's hidden layers.
        coefficient: c < 1, a bound on how much g stretches in x.
        iterations: of the power method that finds how much a layer stretches.
    """

    def __init__(self, layout: Layout, hidden: Sequence[int], coefficient: float, iterations: int) -> None:
        super().__init__()
        self.coefficient = coefficient
        widths = (layout.features, *hidden, layout.features)
        layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
        # begin as steep as they may be; from torch's own start, weights have a long way to grow. For x of order one,
        # hidden numbers are then of these orders
        spreads = [min(1.0, math.sqrt(layout.features / width)) for width in hidden]
        for layer, spread in zip(layers, (*spreads, 0.0), strict=True):
            nn.init.orthogonal_(layer.weight)
            nn.init.normal_(layer.bias, std=spread)
        self.layers = nn.ModuleList(spectral.spectral_norm(layer, iterations=iterations) for layer in layers)
        self.bends = nn.ModuleList(LipSwish(SHARPNESS / spread) for spread in spreads)
        # the condition moves the first layer, and may do so as much as it likes
        self.condition = nn.Linear(layout.context_features, hidden[0], bias=False) if layout.context_features else None

    def change(self, x: Tensor, context: Tensor | None) -> Tensor:
        """c g at rows x (B, D) given context (B, C)."""
        return self.coefficient * self._hidden(x, context)[-1]

    def change_and_product(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """c g at rows x (B, D), and what takes vectors v (B, D) to J^T v (B, D), with J its Jacobian there."""
        with parametrize.cached():
            *hidden, last = self._hidden(x, context)
            weights: list[Any] = [layer.weight for layer in self.layers]
        slopes = [bend.slope(each) for bend, each in zip(self.bends, hidden, strict=True)]  # type: ignore[operator]

        def product(v: Tensor) -> Tensor:
            for weight, slope in zip(reversed(weights[1:]), reversed(slopes), strict=True):
                v = (v @ weight) * slope
            return self.coefficient * (v @ weights[0])

        return self.coefficient * last, product

    def _hidden(self, x: Tensor, context: Tensor | None) -> list[Tensor]:
        """What the layers make of rows, each before its bend."""
        hidden = [self.layers[0](x)]
        if self.condition is not None:
            hidden[0] = hidden[0] + self.condition(context)
        for bend, layer in zip(self.bends, self.layers[1:], strict=True):
            hidden.append(layer(bend(hidden[-1])))
        return hidden

    def forward(self, context: Tensor | None) -> ResidualTransform:
        return ResidualTransform(self, context)


class ResidualTransform(Bijection):
    """A residual step of rows (B, D) given context (B, C)."""

    def __init__(self, step: Contraction, context: Tensor | None) -> None:
        super().__init__()
        self.step, self.context = step, context

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The exact log-determinant, D products."""
        change, product = self.step.change_and_product(x, self.context)
        eye = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        jacobian = torch.stack([product(e.expand_as(x)) for e in eye], dim=1)
        return x + change, torch.linalg.slogdet(eye + jacobian).logabsdet

    @torch.compiler.disable  # K differs from call to call, and each would be compiled anew
    def call_and_estimate(self, x: Tensor, probe: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """y (B, D), and an unbiased estimate of the log-determinant (B,) whose gradient is unbiased too.

        Args:
            x: rows (B, D).
            probe: of unit covariance, (B, D).
            weights: one over the chance that a sample's sum reaches each term, zero where it did not, (B, K).
        """
        change, product = self.step.change_and_product(x, self.context)
        with torch.no_grad():
            power = neumann = probe
            value = torch.zeros_like(x[:, 0])
            for k, weight in enumerate(weights.unbind(1), start=1):
                sign = 1 if k % 2 else -1
                power = product(power)  # (J^T)^k v
                value = value + sign * weight * (power * probe).sum(1) / k
                neumann = neumann - sign * weight[:, None] * power
        gradient = (product(neumann) * probe).sum(1)
        return x + change, value + gradient - gradient.detach()

    def _inverse(self, y: Tensor) -> Tensor:
        """The fixed point, to rounding; without a gradient.

        k steps with a contraction by c end within c^k / (1 - c) of the first step's length. Rounding within g goes with
        the size of its hidden numbers, so that the last bits of x may never come to rest.

        Raises:
            SampleError: what is found is not finite.
        """
        eps = torch.finfo(y.dtype).eps
        c = (1 + self.step.coefficient) / 2  # norms are found from below: g may stretch a little more than it should
        x = y
        with torch.no_grad(), parametrize.cached():
            for _ in range(math.ceil(math.log(eps * (1 - c)) / math.log(c))):
                before, x = x, y - self.step.change(x, self.context)
                if ((x - before).abs() <= 100 * eps * y.abs().clamp(min=1)).all():
                    break
        if not x.isfinite().all():
            raise SampleError("residual-flow: a sample is not finite; expected finite codes and conditions.")
        return x


class ResidualFlow(Flow):
    """A flow of residual steps, exact where a density is asked for, estimated where it is learned."""

    def __init__(self, layout: Layout, config: ResidualFlowConfig) -> None:
        steps = (Contraction(layout, config.hidden, config.coefficient, config.iterations) for _ in range(config.steps))
        super().__init__(layout, steps, config.base.build(layout))
        self.config = config

    def forward(
        self, rows: Tensor, context: Tensor | None, draws: Sequence[tuple[Tensor, Tensor]] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Rows (B, D) and context (B, C) to (noise (B, D), log-determinant (B,)).

        The latter is estimated if there is for each step what `ResidualTransform.call_and_estimate` takes: a probe and
        weights.
        """
        if draws is None:
            return super().forward(rows, context)
        total = torch.zeros_like(rows[:, 0])
        for lazy, (probe, weights) in zip(self.transforms, draws, strict=True):
            rows, ladj = lazy(context).call_and_estimate(rows, probe, weights)
            total = total + ladj
        return rows, total

    def _weights(self, u: Tensor) -> Tensor:
        """One over the chance that a term is reached, for those that are: u (B,) to (B, K)."""
        sure, chance = self.config.terms, self.config.chance
        reached = sure + (u.log() / math.log(chance)).floor()  # at least sure + m with probability chance^m
        k = torch.arange(1, int(reached.max()) + 1, device=u.device)
        return (k <= reached[:, None]) / chance ** (k - sure).clamp(min=0).to(u.dtype)

    def log_prob_estimate(self, x: Tree, condition: Tree | None = None, *, noise: Noise) -> Tensor:
        """Unbiased estimate of the log-density, shape (B,), nats, at the price of a few products.

        Step i reads "probe" (D,), normal, and "roulette" (), uniform, under the name "i".
        """
        rows = self.layout.flatten(x)
        own = [noise.fold(str(number)) for number in range(len(self.transforms))]
        draws = [
            (each.normal("probe", (self.layout.features,)), self._weights(each.uniform("roulette"))) for each in own
        ]
        z, ladj = self(rows, self.layout.context(condition, rows), draws)
        return self.base.log_prob(z) + ladj

    def stages(self) -> list[Stage]:
        return [Stage("fit", (Player("model", ResidualFlowObjective(self), (self,)),))]


class ResidualFlowObjective(Objective):
    """Unbiased estimate of the negative log-likelihood per dimension, nats."""

    def __init__(self, flow: ResidualFlow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        return Losses(-self.flow.log_prob_estimate(batch.x, batch.condition, noise=noise) / self.flow.layout.features)


@families.register("residual-flow")
class ResidualFlowConfig(FlowConfig):
    """Flow of contractions added to the identity."""

    summary: ClassVar[str] = "free-form steps x + g(x), invertible because g contracts; log-determinants estimated"
    reference: ClassVar[str] = "Chen et al., arXiv:1906.02735; Behrmann et al., arXiv:1811.00995"
    model: ClassVar[type[nn.Module]] = ResidualFlow

    kind: Literal["residual-flow"] = "residual-flow"
    steps: int = Field(default=16, ge=1, description="residual steps")
    hidden: tuple[Width, ...] = Field(default=(128, 128), min_length=1, description="widths of each g's hidden layers")
    coefficient: float = Field(default=0.9, gt=0, lt=1, description="bound on how much g stretches")
    iterations: int = Field(default=16, ge=1, description="of the power method that bounds a layer")
    terms: int = Field(default=2, ge=1, description="terms of the series that are always taken")
    chance: float = Field(default=0.5, gt=0, lt=1, description="that a further term is taken, after each")

    def build(self, space: Space, condition: Space | None = None) -> ResidualFlow:
        return ResidualFlow(Layout(space, condition), self)

    @classmethod
    def example(cls) -> ResidualFlowConfig:
        return cls(steps=2, hidden=(8,))
