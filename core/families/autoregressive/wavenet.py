"""WaveNet: a sequence is drawn place by place, each seen by dilated causal convolutions over those before it.

van den Oord et al., arXiv:1609.03499: gated blocks whose dilations double, so that depth sees exponentially far, each
leaving a residual to the next block and a skip to the output. A condition is global (section 2.5). Sampling remembers
past features in ring buffers, so that its cost is linear in length (Le Paine et al., arXiv:1611.09482).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field as Described
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import ConfigError
from ...layout import Layout
from ...likelihoods import SUPPORTS, AnyLikelihood, Likelihood, likelihood_of
from ...nets.causal import CausalLinear, Memory, gate, shift
from ...nets.triangular import Channels
from ...samplers.ancestral import Step
from ...spaces import Sequence, Space, Vector
from .. import FamilyConfig, families
from .model import Autoregressive


class Block(nn.Module):
    """Gated dilated convolution, split into a residual and a skip (Fig. 4 of the paper)."""

    def __init__(self, features: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.conv = CausalLinear(features, 2 * features, kernel, dilation)
        self.leave = nn.Linear(features, 2 * features)

    def forward(self, x: Tensor, bias: Tensor | float, memory: Memory | None) -> tuple[Tensor, Tensor]:
        """Features (B, T, F) to those of the next block and to those that skip to the output."""
        residual, skip = self.leave(gate(self.conv(x, memory) + bias, axis=2)).chunk(2, dim=2)
        return x + residual, skip


class WaveNet(nn.Module):
    """The network: inputs (B, D, K) and context (B, C) to parameters (B, D, P).

    Args:
        length: T, places of a sequence.
        numbers: of a place, drawn in turn.
        context_features: C, features of the context.
        law: of each number.
        config: sizes.
    """

    def __init__(
        self, length: int, numbers: int, context_features: int, law: Likelihood, config: WaveNetConfig
    ) -> None:
        super().__init__()
        self.length, self.numbers, self.embed_dim = length, numbers, law.embed_dim
        features = config.features
        # a one beside the inputs tells places from what was before the first
        self.enter = CausalLinear(numbers * law.embed_dim + 1, features, config.kernel)
        self.blocks = nn.ModuleList(
            Block(features, config.kernel, config.kernel**i) for _ in range(config.stacks) for i in range(config.depth)
        )
        self.condition = (
            nn.Linear(context_features, 2 * features * len(self.blocks), bias=False) if context_features else None
        )
        self.leave = nn.Linear(features, features)
        self.channels = Channels(numbers, law.embed_dim, features, law.parameters)

    def forward(self, inputs: Tensor, context: Tensor | None) -> Tensor:
        """Parameters (B, D, P)."""
        places = inputs.reshape(inputs.shape[0], self.length, self.numbers, self.embed_dim)
        line = torch.cat((places.flatten(2), torch.ones_like(places[:, :, 0, :1])), dim=2)
        features = self._features(shift(line, 1), self._biases(context), None)
        return self.channels(places.flatten(0, 1), features.flatten(0, 1)).reshape(*inputs.shape[:2], -1)

    def steps(self, context: Tensor | None, like: Tensor) -> Step:
        """Draw with the features of earlier places remembered (`Incremental`)."""
        return self._draw(context, like).send

    def _draw(self, context: Tensor | None, like: Tensor) -> Generator[Tensor, Any, None]:
        biases, memory = self._biases(context), Memory()
        before = like.new_zeros(like.shape[0], self.numbers * self.embed_dim + 1)
        for _ in range(self.length):
            features = self._features(before[:, None], biases, memory)[:, 0]
            drawn = like.new_zeros(like.shape[0], self.numbers, self.embed_dim)
            for number in range(self.numbers):
                drawn[:, number] = yield self.channels(drawn, features)[:, number]
            before = torch.cat((drawn.flatten(1), torch.ones_like(before[:, :1])), dim=1)

    def _features(self, x: Tensor, biases: list[Tensor | float], memory: Memory | None) -> Tensor:
        """Features (B, T, F) of places whose inputs (B, T, I) are those of the place before."""
        x, skips = self.enter(x, memory), []
        for block, bias in zip(self.blocks, biases, strict=True):
            x, skip = block(x, bias, memory)
            skips.append(skip)
        return self.leave(F.silu(torch.stack(skips).sum(0)))

    def _biases(self, context: Tensor | None) -> list[Tensor | float]:
        """What the condition adds to each block."""
        if self.condition is None:
            return [0.0] * len(self.blocks)
        return list(self.condition(context)[:, None].chunk(len(self.blocks), dim=2))


@families.register("wavenet")
class WaveNetConfig(FamilyConfig):
    """WaveNet."""

    summary: ClassVar[str] = "sequences place by place, by gated dilated convolutions over those before"
    reference: ClassVar[str] = "van den Oord et al., arXiv:1609.03499"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "sequence")
    supports: ClassVar[tuple[str, ...]] = ("binary", "levels", "interval", "real")
    model: ClassVar[type[nn.Module]] = Autoregressive

    kind: Literal["wavenet"] = "wavenet"
    features: int = Described(default=64, ge=1, description="features of a place")
    depth: int = Described(default=8, ge=1, description="blocks of a stack, of dilations 1, k, k^2, ...")
    stacks: int = Described(default=2, ge=1, description="stacks of blocks; each begins at dilation 1 again")
    kernel: int = Described(default=2, ge=2, description="places k that a convolution sees, with its own")
    likelihood: AnyLikelihood | None = None

    def build(self, space: Space, condition: Space | None = None) -> Autoregressive:
        layout = Layout(space, condition, SUPPORTS)
        if not isinstance(space, Vector | Sequence):
            raise ConfigError(f"wavenet: expected a sequence or a vector, found a {space.kind}; use transformer.")
        length = space.shape[0]
        if length < 2:
            raise ConfigError("wavenet: expected at least 2 places, found 1; use fvsbn.")
        law: Any = likelihood_of(layout.support, self.likelihood)
        return Autoregressive(
            layout, law, WaveNet(length, layout.features // length, layout.context_features, law, self)
        )

    @classmethod
    def example(cls) -> WaveNetConfig:
        return cls(features=6, depth=2, stacks=2)
