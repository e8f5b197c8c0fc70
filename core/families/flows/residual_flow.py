"""Residual flows: y = x + g(x) with any contraction g.

Behrmann et al., "Invertible residual networks", arXiv:1811.00995; Chen et al., "Residual flows", arXiv:1906.02735. The
inverse is the fixed point of x = y - g(x). The log-determinant is a series of traces of powers of g's Jacobian J,

    log det(1 + J) = sum over k of (-1)^(k+1) tr(J^k) / k.

Training takes an unbiased estimate of it: a random number of terms, each divided by the probability that it is reached
(Russian roulette), with one random probe v per sample for the traces. Its gradient is that of w . J v with
w = sum over k of (-1)^k (J^T)^k v held fixed (their Neumann series, eq. 8), which stores one product instead of all.
`log_prob` is exact: it computes the whole Jacobian, with one product per feature and step. Products J^T v are computed
explicitly, because a backward pass would compute the activations' slopes again for each of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Literal, cast

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
from .bijection import Bijection, LazyTransform
from .flow import Flow, FlowConfig

SHARPNESS = 5.0
"""Ratio of the standard deviation of a hidden layer's values to the width 1 / b of its LipSwish, before training.

With a smaller ratio, a step would be almost linear.
"""


class LipSwish(nn.Module):
    """x sigmoid(b x) / 1.1 with a learned b > 0: smooth, nonlinear within 1 / b of zero, and of slope at most one.

    >>> LipSwish(5.0)(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.0061,  0.0000,  0.9030], grad_fn=<DivBackward0>)
    """

    def __init__(self, b: float) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.full((1,), b + math.log(-math.expm1(-b))))  # one axis, so that it can be sharded

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(F.softplus(self.raw) * x) / 1.1

    def slope(self, x: Tensor) -> Tensor:
        """The derivative."""
        bx = F.softplus(self.raw) * x
        s = torch.sigmoid(bx)
        return s * (1 + bx * (1 - s)) / 1.1

    def extra_repr(self) -> str:
        return f"b={F.softplus(self.raw.detach()).item():g}"


class Contraction(LazyTransform):
    """Lazy residual step x + c g(x, context), where every layer of g has a Lipschitz constant of at most one in x.

    Args:
        layout: of samples and conditions.
        hidden: widths of g's hidden layers.
        coefficient: c < 1, a bound on the Lipschitz constant of c g in x.
        iterations: of the power method that finds the spectral norm of a layer.

    >>> from maquette.core.spaces import Vector
    >>> lazy = Contraction(Layout(Vector(dim=3)), (8,), coefficient=0.9, iterations=16)
    >>> transform = lazy(None)
    >>> x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    >>> torch.allclose(transform.inverse(transform(x)), x, atol=1e-5)
    True
    """

    def __init__(self, layout: Layout, hidden: Sequence[int], coefficient: float, iterations: int) -> None:
        super().__init__()
        self.coefficient = coefficient
        widths = (layout.features, *hidden, layout.features)
        layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
        # start with all singular values at one, their bound; torch's initial weights are much smaller. For x of order
        # one, hidden values then have these standard deviations
        scales = [min(1.0, math.sqrt(layout.features / width)) for width in hidden]
        for layer, scale in zip(layers, (*scales, 0.0), strict=True):
            nn.init.orthogonal_(layer.weight)
            nn.init.normal_(layer.bias, std=scale)
        self.layers = nn.ModuleList(spectral.spectral_norm(layer, n_power_iterations=iterations) for layer in layers)
        self.activations = nn.ModuleList(LipSwish(SHARPNESS / scale) for scale in scales)
        # the context shifts the first layer; its weights need no bound
        self.context = nn.Linear(layout.context_features, hidden[0], bias=False) if layout.context_features else None

    def residual(self, x: Tensor, context: Tensor | None) -> Tensor:
        """c g at x (B, D) given context (B, C)."""
        return self.coefficient * self._preactivations(x, context)[-1]

    def residual_and_vjp(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """c g at x (B, D), and the function from v (B, D) to J^T v (B, D), with J the Jacobian of c g there."""
        with parametrize.cached():
            *hidden, last = self._preactivations(x, context)
            weights: list[Any] = [layer.weight for layer in self.layers]
        slopes = [cast(LipSwish, f).slope(each) for f, each in zip(self.activations, hidden, strict=True)]

        def vjp(v: Tensor) -> Tensor:
            for weight, slope in zip(reversed(weights[1:]), reversed(slopes), strict=True):
                v = (v @ weight) * slope
            return self.coefficient * (v @ weights[0])

        return self.coefficient * last, vjp

    def _preactivations(self, x: Tensor, context: Tensor | None) -> list[Tensor]:
        """The output of each layer before its activation."""
        hidden = [self.layers[0](x)]
        if self.context is not None:
            hidden[0] = hidden[0] + self.context(context)
        for activation, layer in zip(self.activations, self.layers[1:], strict=True):
            hidden.append(layer(activation(hidden[-1])))
        return hidden

    def forward(self, context: Tensor | None) -> ResidualTransform:
        return ResidualTransform(self, context)

    def extra_repr(self) -> str:
        return f"coefficient={self.coefficient:g}"


class ResidualTransform(Bijection):
    """A residual step of x (B, D) given context (B, C).

    >>> from maquette.core.spaces import Vector
    >>> step = Contraction(Layout(Vector(dim=2)), (8,), coefficient=0.9, iterations=16)
    >>> transform: ResidualTransform = step(None)
    >>> x, probe, weights = torch.ones(500, 2), torch.randn(500, 2), torch.ones(500, 20)  # 20 terms
    >>> exact, estimate = transform.call_and_ladj(x)[1], transform.call_and_estimate(x, probe, weights)[1]
    >>> bool((exact.mean() - estimate.mean()).abs() < 4 * estimate.std() / 500**0.5)
    True
    """

    def __init__(self, step: Contraction, context: Tensor | None) -> None:
        super().__init__()
        self.step, self.context = step, context

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, D) to y (B, D) and the exact log-determinant (B,), from D products J^T v."""
        residual, vjp = self.step.residual_and_vjp(x, self.context)
        eye = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        jacobian = torch.stack([vjp(e.expand_as(x)) for e in eye], dim=1)
        return x + residual, torch.linalg.slogdet(eye + jacobian).logabsdet

    @torch.compiler.disable  # K differs from call to call, and each value would be compiled again
    def call_and_estimate(self, x: Tensor, probe: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """y (B, D), and an unbiased estimate of the log-determinant (B,) whose gradient is unbiased too.

        Args:
            x: (B, D).
            probe: random, of unit covariance, (B, D).
            weights: (B, K); for each term of the series one over the probability that a sample reaches it, zero if the
                sample did not.
        """
        residual, vjp = self.step.residual_and_vjp(x, self.context)
        with torch.no_grad():
            power = neumann = probe
            value = torch.zeros_like(x[:, 0])
            for k, weight in enumerate(weights.unbind(1), start=1):
                sign = 1 if k % 2 else -1
                power = vjp(power)  # (J^T)^k v
                value = value + sign * weight * (power * probe).sum(1) / k
                neumann = neumann - sign * weight[:, None] * power
        gradient = (vjp(neumann) * probe).sum(1)
        return x + residual, value + gradient - gradient.detach()

    def inverse(self, y: Tensor) -> Tensor:
        """The fixed point, up to rounding, without a gradient.

        After k steps of a contraction by c the error is at most c^k / (1 - c) times the length of the first step.
        Rounding errors within g scale with its hidden values, so that the last bits of x may keep changing.

        Raises:
            SampleError: the result is not finite.
        """
        eps = torch.finfo(y.dtype).eps
        c = (1 + self.step.coefficient) / 2  # spectral norms are estimated from below: g may exceed its bound slightly
        x = y
        with torch.no_grad(), parametrize.cached():
            for _ in range(math.ceil(math.log(eps * (1 - c)) / math.log(c))):
                before, x = x, y - self.step.residual(x, self.context)
                if ((x - before).abs() <= 100 * eps * y.abs().clamp(min=1)).all():
                    break
        if not x.isfinite().all():
            raise SampleError("residual-flow: a sample is not finite; expected finite codes and conditions.")
        return x


class ResidualFlow(Flow):
    """A flow of residual steps: `log_prob` is exact, training uses an unbiased estimate.

    >>> from maquette.core.spaces import Vector
    >>> flow: ResidualFlow = ResidualFlowConfig(steps=2, hidden=(8,)).build(Vector(dim=3))
    >>> x = torch.randn(5, 3)
    >>> torch.allclose(flow.decode(flow.encode(x)), x, atol=1e-5)
    True
    """

    def __init__(self, layout: Layout, config: ResidualFlowConfig) -> None:
        steps = (Contraction(layout, config.hidden, config.coefficient, config.iterations) for _ in range(config.steps))
        super().__init__(layout, steps, config.base.build(layout))
        self.config = config

    def forward(
        self, x: Tensor, context: Tensor | None, draws: Sequence[tuple[Tensor, Tensor]] | None = None
    ) -> tuple[Tensor, Tensor]:
        """x (B, D) and context to (codes (B, D), log-determinant (B,)).

        Args:
            x: flattened samples.
            context: of their conditions.
            draws: for each step a probe and weights as for `ResidualTransform.call_and_estimate`; with them the
                log-determinant is estimated.
        """
        if draws is None:
            return super().forward(x, context)
        total = torch.zeros_like(x[:, 0])
        for lazy, (probe, weights) in zip(self.transforms, draws, strict=True):
            x, ladj = lazy(context).call_and_estimate(x, probe, weights)
            total = total + ladj
        return x, total

    def _weights(self, u: Tensor) -> Tensor:
        """From u (B,), one over the probability of each term that is reached, zero for the others, (B, K)."""
        sure, chance = self.config.terms, self.config.chance
        reached = sure + (u.log() / math.log(chance)).floor()  # at least sure + m with probability chance^m
        k = torch.arange(1, int(reached.max()) + 1, device=u.device)
        return (k <= reached[:, None]) / chance ** (k - sure).clamp(min=0).to(u.dtype)

    def log_prob_estimate(self, x: Tree, condition: Tree | None = None, *, noise: Noise) -> Tensor:
        """Unbiased estimate of the log-density, shape (B,), nats, from a few products J^T v.

        Step i reads "probe" (D,), normal, and "roulette" (), uniform, under the name "i".
        """
        flat = self.layout.flatten(x)
        of_steps = [noise.fold(str(i)) for i in range(len(self.transforms))]
        draws = [
            (each.normal("probe", (self.layout.features,)), self._weights(each.uniform("roulette")))
            for each in of_steps
        ]
        context = self.layout.context(condition, flat).vector
        z, ladj = self(flat, context, draws)
        return self.base.log_prob(z, context) + ladj

    def stages(self) -> list[Stage]:
        return [Stage("fit", (Player("model", ResidualFlowObjective(self), (self,)),))]


class ResidualFlowObjective(Objective):
    """Unbiased estimate of the negative log-likelihood per feature, nats; reads the noise of `log_prob_estimate`.

    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> objective = ResidualFlowObjective(ResidualFlowConfig(steps=2, hidden=(8,)).build(Vector(dim=3)))
    >>> index = torch.arange(5)
    >>> objective(Batch(torch.randn(5, 3), None, index), KeyedNoise(0, index)).losses.shape
    torch.Size([5])
    """

    def __init__(self, flow: ResidualFlow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        return Losses(-self.flow.log_prob_estimate(batch.x, batch.condition, noise=noise) / self.flow.layout.features)


@families.register("residual-flow")
class ResidualFlowConfig(FlowConfig):
    """Flow of residual steps.

    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> flow = ResidualFlowConfig(steps=2, hidden=(8,)).build(Vector(dim=3))
    >>> noise = KeyedNoise(0, torch.arange(5))
    >>> x = flow.sample(5, noise=noise)
    >>> x.shape, flow.log_prob(x).shape, flow.log_prob_estimate(x, noise=noise).shape
    (torch.Size([5, 3]), torch.Size([5]), torch.Size([5]))
    """

    summary: ClassVar[str] = (
        "free-form steps x + g(x), invertible because g is a contraction; log-determinants estimated"
    )
    reference: ClassVar[str] = "Chen et al., arXiv:1906.02735; Behrmann et al., arXiv:1811.00995"
    model: ClassVar[type[nn.Module]] = ResidualFlow

    kind: Literal["residual-flow"] = "residual-flow"
    steps: int = Field(default=16, ge=1, description="residual steps")
    hidden: tuple[Width, ...] = Field(default=(128, 128), min_length=1, description="widths of each g's hidden layers")
    coefficient: float = Field(default=0.9, gt=0, lt=1, description="bound on the Lipschitz constant of g")
    iterations: int = Field(default=16, ge=1, description="of the power method that finds the spectral norm of a layer")
    terms: int = Field(default=2, ge=1, description="terms of the series that are always taken")
    chance: float = Field(default=0.5, gt=0, lt=1, description="probability of each further term, given the one before")

    def build(self, space: Space, condition: Space | None = None) -> ResidualFlow:
        return ResidualFlow(Layout(space, condition), self)

    @classmethod
    def example(cls) -> ResidualFlowConfig:
        return cls(steps=2, hidden=(8,))
