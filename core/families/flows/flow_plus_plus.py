"""Flow++: images of integer levels by mixture-of-logistics couplings, attention and learned dequantisation.

Ho et al., arXiv:1902.00275. Steps and grids are those of Glow. A coupling applies the distribution function of a
mixture of logistics, then the logit, a scale and a shift. In its network, self-attention over the cells follows each
residual block. The noise that dequantises the levels comes from a second flow of the same kind, given the image. The
model computes a lower bound on the likelihood of the levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field as Described
from torch import Tensor, nn
from torch.nn import functional as F

from ...layout import Layout
from ...nets.attention import Attention, require_heads
from ...samplers.roots import invert
from ...spaces import Binary, Field, Levels, Space
from .. import FamilyConfig, families
from .bijection import UnivariateBijection
from .dequantised import Dequantised, VariationalDequantiser, with_real_support
from .elementwise import Affine
from .flow import Flow
from .glow import ImageNetwork, image_steps, multi_scale, require_field, rotation, squeeze


class _LogisticMixtureTransform(UnivariateBijection):
    """y = logit(CDF(x)), with the CDF of a mixture of K logistics.

    Args:
        logits: of the mixture weights, (..., K, D).
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

    def inverse(self, y: Tensor) -> Tensor:
        # the quantile of the mixture is between those of its components
        with torch.no_grad():
            quantiles = self.means + self.log_scales.exp() * y.unsqueeze(-2)
        return invert(self.call_and_ladj, y, quantiles.amin(-2), quantiles.amax(-2))


class _MixtureAffineTransform(UnivariateBijection):
    """Mixture of logistics, then scale and shift."""

    def __init__(self, mixture: _LogisticMixtureTransform, affine: UnivariateBijection) -> None:
        super().__init__()
        self.mixture, self.affine = mixture, affine

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, mixture_ladj = self.mixture.call_and_ladj(x)
        y, affine_ladj = self.affine.call_and_ladj(y)
        return y, mixture_ladj + affine_ladj

    def inverse(self, y: Tensor) -> Tensor:
        return self.mixture.inverse(self.affine.inverse(y))


@dataclass(frozen=True)
class LogisticMixtureCDF:
    """Logits of the CDFs of mixtures of K logistics, then a scale and a shift; every |log scale| stays below `bound`.

    Parameters of zero give evenly spaced means from -1 to 1, and a map close to the identity. Components that start
    equal would stay equal.

    >>> mixture = LogisticMixtureCDF(components=2)(torch.zeros(8, 3))  # P = 8 parameters for D = 3 features
    >>> x = torch.tensor([-1.0, 0.0, 2.0])
    >>> torch.allclose(mixture.inverse(mixture(x)), x, atol=1e-5)
    True
    """

    components: int
    bound: float = 5.0

    @property
    def size(self) -> int:
        """Parameters: shift and scale, and weight, mean and scale of each component."""
        return 2 + 3 * self.components

    def __call__(self, parameters: Tensor) -> UnivariateBijection:
        logits, means, scales = parameters[..., 2:, :].unflatten(-2, (3, self.components)).unbind(-3)
        offsets = torch.linspace(-1, 1, self.components, dtype=means.dtype, device=means.device)
        means = means + (offsets - offsets.mean()).unsqueeze(-1)
        mixture = _LogisticMixtureTransform(logits, means, scales / (1 + scales.abs() / self.bound))
        return _MixtureAffineTransform(mixture, Affine(self.bound)(parameters[..., :2, :]))


class _GridAttention(nn.Module):
    """Residual self-attention over the cells of a grid with learned positions; starts as the identity."""

    no_weight_decay: ClassVar[tuple[str, ...]] = ("positions",)

    def __init__(self, cells: int, width: int, heads: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(0.02 * torch.randn(cells, width))
        self.attention = Attention(width, heads)
        self.gate = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, *grid) to the same."""
        tokens = x.flatten(2).transpose(1, 2)
        attended = self.attention(F.layer_norm(tokens, tokens.shape[-1:]) + self.positions)
        return x + (self.gate * attended).transpose(1, 2).reshape(x.shape)


@families.register("flow-plus-plus")
class FlowPlusPlusConfig(FamilyConfig):
    """Flow of images of integer levels, with variational dequantisation.

    >>> from maquette.core.noise import KeyedNoise
    >>> model = FlowPlusPlusConfig.example().build(Field(channels=1, grid=(4, 4), support=Levels(count=4)))
    >>> noise = KeyedNoise(0, torch.arange(5))
    >>> x = model.sample(5, noise=noise)
    >>> x.shape, x.dtype, model.log_bound(x, noise=noise).shape
    (torch.Size([5, 1, 4, 4]), torch.int64, torch.Size([5]))
    """

    summary: ClassVar[str] = "images of levels by mixture-of-logistics couplings, attention and learned dequantisation"
    reference: ClassVar[str] = "Ho et al., arXiv:1902.00275"
    spaces: ClassVar[tuple[str, ...]] = ("field",)
    supports: ClassVar[tuple[str, ...]] = ("levels", "binary")
    model: ClassVar[type[nn.Module]] = Dequantised

    kind: Literal["flow-plus-plus"] = "flow-plus-plus"
    levels: int = Described(default=2, ge=1, description="grids, each with its even axes half as long as before")
    steps: int = Described(default=4, ge=1, description="steps at each level")
    dequantisation: int = Described(default=2, ge=1, description="steps of the flow that dequantises")
    components: int = Described(default=8, ge=1, description="logistics in a mixture")
    width: int = Described(default=64, ge=1, description="hidden channels of the couplings' networks")
    depth: int = Described(default=2, ge=1, description="residual blocks of a network, each followed by attention")
    heads: int = Described(default=4, ge=1, description="heads of attention; they divide `width`")

    def build(self, space: Space, condition: Space | None = None) -> Dequantised:
        require_heads(self.kind, self.width, self.heads)
        layout = Layout(space, condition, (Levels, Binary))
        field = require_field(self.kind, space)
        mixture = LogisticMixtureCDF(self.components)

        def conditioner(grid: Field, inputs: int, outputs: int, *, extra: int = 0) -> nn.Module:
            cells = torch.Size(grid.grid).numel()
            attention = partial(_GridAttention, cells, self.width, self.heads)
            sizes = {"width": self.width, "depth": self.depth, "context_features": layout.context_features}
            return ImageNetwork(grid, inputs + extra, outputs, **sizes, between=attention)

        order, squeezed = squeeze(field, kind=self.kind)
        with_image = partial(conditioner, extra=squeezed.channels)
        noise_transforms = image_steps(squeezed, self.dequantisation, mixture, with_image, torch.eye)
        dequantiser = VariationalDequantiser(layout, order, noise_transforms)
        transforms = multi_scale(field, self.levels, self.steps, mixture, conditioner, rotation, kind=self.kind)
        flow = Flow(Layout(with_real_support(space), condition), transforms)
        return Dequantised(layout, flow, dequantiser)

    @classmethod
    def example(cls) -> FlowPlusPlusConfig:
        return cls(levels=1, steps=1, dequantisation=1, components=2, width=4, depth=1, heads=2)
