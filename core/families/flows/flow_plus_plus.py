"""Flow++: images of integer levels by mixtures of logistics, networks that attend, and learned dequantisation.

Ho et al., arXiv:1902.00275. The steps and grids are those of Glow; a number is bent by the distribution function of a
mixture of logistics, whose logit is scaled and shifted; each block of a coupling's network is followed by
self-attention over the cells; and the noise that fills the levels comes from a flow of the same make that sees the
image. Masses are known up to that flow's bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field as Described
from torch import Tensor, nn
from torch.distributions import Transform
from torch.nn import functional as F

from ...layout import Layout
from ...nets.attention import Attention, require_heads
from ...samplers.roots import invert
from ...spaces import Binary, Field, Levels, Space
from .. import FamilyConfig, families
from .bijection import NumberBijection
from .dequantised import Dequantised, VariationalDequantiser, real
from .elementwise import Affine
from .flow import Flow
from .glow import ImageNetwork, image_steps, multi_scale, require_field, rotation, squeeze


class LogisticMixtureTransform(NumberBijection):
    """y = logit of the distribution function of a mixture of K logistics at x.

    Args:
        logits: of the weights, (..., K, D).
        means: (..., K, D).
        log_scales: (..., K, D).
    """

    def __init__(self, logits: Tensor, means: Tensor, log_scales: Tensor) -> None:
        super().__init__()
        self.weights, self.means, self.log_scales = logits.log_softmax(-2), means, log_scales

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = (x.unsqueeze(-2) - self.means) * (-self.log_scales).exp()
        low, high = F.logsigmoid(z), F.logsigmoid(-z)
        below, above = (self.weights + low).logsumexp(-2), (self.weights + high).logsumexp(-2)
        density = (self.weights + low + high - self.log_scales).logsumexp(-2)
        return below - above, density - below - above

    def _inverse(self, y: Tensor) -> Tensor:
        # the mixture's quantile lies between those of its parts
        with torch.no_grad():
            quantiles = self.means + self.log_scales.exp() * y.unsqueeze(-2)
        return invert(self.call_and_ladj, y, quantiles.amin(-2), quantiles.amax(-2))


class MixedTransform(NumberBijection):
    """Mixture of logistics, then scale and shift."""

    def __init__(self, mixture: LogisticMixtureTransform, affine: Transform) -> None:
        super().__init__()
        self.mixture, self.affine = mixture, affine

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, ladj = self.mixture.call_and_ladj(x)
        y, scale = self.affine.call_and_ladj(y)  # type: ignore[attr-defined]
        return y, ladj + scale

    def _inverse(self, y: Tensor) -> Tensor:
        return self.mixture.inv(self.affine.inv(y))  # type: ignore[return-value, arg-type]


@dataclass(frozen=True)
class LogisticMixtures:
    """Mixtures of K logistics with a scale and a shift behind them; log scales stay below `bound`.

    Parameters of zero put the means side by side from -1 to 1, close to the identity: components that began alike would
    remain so.
    """

    components: int
    bound: float = 5.0

    @property
    def size(self) -> int:
        """Shift and scale, and weight, mean and scale of each component."""
        return 2 + 3 * self.components

    def __call__(self, parameters: Tensor) -> Transform:
        logits, means, scales = parameters[..., 2:, :].unflatten(-2, (3, self.components)).unbind(-3)
        apart = torch.linspace(-1, 1, self.components, dtype=means.dtype, device=means.device)
        means = means + (apart - apart.mean()).unsqueeze(-1)
        mixture = LogisticMixtureTransform(logits, means, scales / (1 + scales.abs() / self.bound))
        return MixedTransform(mixture, Affine(self.bound)(parameters[..., :2, :]))


class Attending(nn.Module):
    """Self-attention over the cells of a grid, each with a learned position, beside the identity that it starts as."""

    def __init__(self, cells: int, width: int, heads: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(0.02 * torch.randn(cells, width))
        self.attention = Attention(width, heads)
        self.gate = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, *grid) to the same."""
        tokens = x.flatten(2).transpose(1, 2)
        seen = self.attention(F.layer_norm(tokens, tokens.shape[-1:]) + self.positions)
        return x + (self.gate * seen).transpose(1, 2).reshape(x.shape)


@families.register("flow-plus-plus")
class FlowPlusPlusConfig(FamilyConfig):
    """Flow of images of levels by mixtures of logistics, with attention and variational dequantisation."""

    summary: ClassVar[str] = "images of levels by mixture-of-logistics couplings, attention and learned dequantisation"
    reference: ClassVar[str] = "Ho et al., arXiv:1902.00275"
    spaces: ClassVar[tuple[str, ...]] = ("field",)
    supports: ClassVar[tuple[str, ...]] = ("levels", "binary")
    model: ClassVar[type[nn.Module]] = Dequantised

    kind: Literal["flow-plus-plus"] = "flow-plus-plus"
    levels: int = Described(default=2, ge=1, description="grids, each with its even axes half as long as before")
    steps: int = Described(default=4, ge=1, description="steps at each level")
    dequantisation: int = Described(default=2, ge=1, description="steps of the flow of the noise within levels")
    components: int = Described(default=8, ge=1, description="logistics in a mixture")
    width: int = Described(default=64, ge=1, description="channels within the couplings' networks")
    depth: int = Described(default=2, ge=1, description="residual blocks of a network, each followed by attention")
    heads: int = Described(default=4, ge=1, description="heads of attention; they divide `width`")

    def build(self, space: Space, condition: Space | None = None) -> Dequantised:
        require_heads(self.kind, self.width, self.heads)
        layout = Layout(space, condition, (Levels, Binary))
        field = require_field(self.kind, space)
        mixtures = LogisticMixtures(self.components)

        def network(grid: Field, inputs: int, outputs: int, *, seen: int = 0) -> nn.Module:
            cells = torch.Size(grid.grid).numel()
            attending = partial(Attending, cells, self.width, self.heads)
            sizes = {"width": self.width, "depth": self.depth, "context_features": layout.context_features}
            return ImageNetwork(grid, inputs + seen, outputs, **sizes, between=attending)

        order, squeezed = squeeze(field, kind=self.kind)
        seeing = partial(network, seen=squeezed.channels)
        within = image_steps(squeezed, self.dequantisation, mixtures, seeing, torch.eye)
        noise = VariationalDequantiser(layout, order, within)
        transforms = multi_scale(field, self.levels, self.steps, mixtures, network, rotation, kind=self.kind)
        return Dequantised(layout, Flow(Layout(real(space), condition), transforms), noise)

    @classmethod
    def example(cls) -> FlowPlusPlusConfig:
        return cls(levels=1, steps=1, dequantisation=1, components=2, width=4, depth=1, heads=2)
