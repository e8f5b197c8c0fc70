"""WaveNet: a sequence is drawn step by step, by dilated causal convolutions over the steps before.

van den Oord et al., arXiv:1609.03499: gated blocks whose dilations double, so that the receptive field grows
exponentially with depth; each block has a residual to the next block and a skip to the output. Conditioning is global
(section 2.5). Sampling keeps past features in ring buffers, so that its cost is linear in length (Le Paine et al.,
arXiv:1611.09482).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field as Described
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import ConfigError
from ...likelihoods import AnyLikelihood, Likelihood
from ...nets.causal import CausalConv1d, ConvCache, gate, shift
from ...nets.triangular import ChannelHead
from ...samplers.ancestral import Step
from ...spaces import Sequence, Space, Vector
from .. import FamilyConfig, families
from .legal import features_of
from .model import Autoregressive


class _Block(nn.Module):
    """Gated dilated convolution with a residual to the next block and a skip to the output (Fig. 4 of the paper)."""

    def __init__(self, channels: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.conv = CausalConv1d(channels, 2 * channels, kernel, dilation)
        self.output = nn.Linear(channels, 2 * channels)

    def forward(self, x: Tensor, bias: Tensor | float, cache: ConvCache | None) -> tuple[Tensor, Tensor]:
        """Features (B, T, F) to the input of the next block and the skip to the output, each (B, T, F)."""
        residual, skip = self.output(gate(self.conv(x, cache) + bias, dim=2)).chunk(2, dim=2)
        return x + residual, skip


class WaveNet(nn.Module):
    """The network: inputs (B, D, K) and context (B, C) to parameters (B, D, P).

    Args:
        length: T, steps of a sequence.
        data_channels: features of a step, drawn in turn.
        context_features: C, features of the context.
        likelihood: of each feature.
        config: sizes.

    >>> from maquette.core.likelihoods.categorical import Categorical
    >>> network = WaveNet(8, 1, 0, Categorical(5), WaveNetConfig(channels=4, depth=2, stacks=1))
    >>> network(torch.zeros(2, 8, 5), None).shape
    torch.Size([2, 8, 5])
    """

    def __init__(
        self, length: int, data_channels: int, context_features: int, likelihood: Likelihood, config: WaveNetConfig
    ) -> None:
        super().__init__()
        self.length, self.data_channels, self.embed_dim = length, data_channels, likelihood.embed_dim
        channels = config.channels
        # the last input is 1 within the sequence, 0 in the padding
        self.embed = CausalConv1d(data_channels * self.embed_dim + 1, channels, config.kernel)
        self.blocks = nn.ModuleList(
            _Block(channels, config.kernel, config.kernel**i) for _ in range(config.stacks) for i in range(config.depth)
        )
        self.context_proj = (
            nn.Linear(context_features, 2 * channels * len(self.blocks), bias=False) if context_features else None
        )
        self.output = nn.Linear(channels, channels)
        self.head = ChannelHead(data_channels, self.embed_dim, channels, likelihood.parameters)

    def extra_repr(self) -> str:
        return f"length={self.length}, data_channels={self.data_channels}"

    def forward(self, inputs: Tensor, context: Tensor | None) -> Tensor:
        """Parameters (B, D, P)."""
        steps = inputs.reshape(inputs.shape[0], self.length, self.data_channels, self.embed_dim)
        sequence = torch.cat((steps.flatten(2), torch.ones_like(steps[:, :, 0, :1])), dim=2)
        hidden = self._hidden(shift(sequence, 1), self._biases(context), None)
        return self.head(steps.flatten(0, 1), hidden.flatten(0, 1)).reshape(*inputs.shape[:2], -1)

    def steps(self, context: Tensor | None, like: Tensor) -> Step:
        """Begin to draw (`Incremental`); keeps the features of earlier steps."""
        return self._draw(context, like).send

    def _draw(self, context: Tensor | None, like: Tensor) -> Generator[Tensor, Any, None]:
        biases, cache = self._biases(context), ConvCache()
        before = like.new_zeros(like.shape[0], self.data_channels * self.embed_dim + 1)
        for _ in range(self.length):
            hidden = self._hidden(before[:, None], biases, cache)[:, 0]
            drawn = like.new_zeros(like.shape[0], self.data_channels, self.embed_dim)
            for channel in range(self.data_channels):
                drawn[:, channel] = yield self.head(drawn, hidden)[:, channel]
            before = torch.cat((drawn.flatten(1), torch.ones_like(before[:, :1])), dim=1)

    def _hidden(self, x: Tensor, biases: list[Tensor | float], cache: ConvCache | None) -> Tensor:
        """Features (B, T, F) of each step from the inputs (B, T, I) of the step before."""
        x, skips = self.embed(x, cache), []
        for block, bias in zip(self.blocks, biases, strict=True):
            x, skip = block(x, bias, cache)
            skips.append(skip)
        return self.output(F.silu(torch.stack(skips).sum(0)))

    def _biases(self, context: Tensor | None) -> list[Tensor | float]:
        """What the context adds to each block before its gate."""
        if self.context_proj is None:
            return [0.0] * len(self.blocks)
        return list(self.context_proj(context)[:, None].chunk(len(self.blocks), dim=2))


@families.register("wavenet")
class WaveNetConfig(FamilyConfig):
    """WaveNet.

    >>> from maquette.core.noise import KeyedNoise
    >>> model = WaveNetConfig(channels=8, depth=3, stacks=1).build(Sequence(length=8, vocabulary=5))
    >>> x = model.sample(2, noise=KeyedNoise(0, torch.arange(2)))
    >>> x.shape, model.log_prob(x).shape
    (torch.Size([2, 8]), torch.Size([2]))
    """

    summary: ClassVar[str] = "sequences step by step, by gated dilated convolutions over the steps before"
    reference: ClassVar[str] = "van den Oord et al., arXiv:1609.03499"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "sequence")
    supports: ClassVar[tuple[str, ...]] = ("binary", "levels", "interval", "real")
    model: ClassVar[type[nn.Module]] = Autoregressive

    kind: Literal["wavenet"] = "wavenet"
    channels: int = Described(default=64, ge=1, description="channels of the blocks")
    depth: int = Described(default=8, ge=1, description="blocks of a stack, of dilations 1, k, k^2, ...")
    stacks: int = Described(default=2, ge=1, description="stacks of blocks; each starts at dilation 1 again")
    kernel: int = Described(default=2, ge=2, description="steps k that a convolution sees, its own included")
    likelihood: AnyLikelihood | None = None

    def build(self, space: Space, condition: Space | None = None) -> Autoregressive:
        layout, likelihood = features_of(space, condition, self.likelihood)
        if not isinstance(space, Vector | Sequence):
            raise ConfigError(f"wavenet: expected a sequence or a vector, found a {space.kind}; use transformer.")
        length = space.shape[0]
        if length < 2:
            raise ConfigError("wavenet: expected at least 2 steps, found 1; use fvsbn.")
        network = WaveNet(length, layout.features // length, layout.context_features, likelihood, self)
        return Autoregressive(layout, likelihood, network)

    @classmethod
    def example(cls) -> WaveNetConfig:
        return cls(channels=6, depth=2, stacks=2)
