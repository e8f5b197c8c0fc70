"""Decoder-only transformer: every feature is a token that attends to all features before it.

Vaswani et al., arXiv:1706.03762, with rotary positions (arXiv:2104.09864), pre-normalisation by RMSNorm
(arXiv:1910.07467), SwiGLU (arXiv:2002.05202), and a cache of keys and values while sampling. It takes sequences of any
vocabulary and, with an end, of any length, fields of one or several channels in raster order (Parmar et al., "Image
Transformer", arXiv:1802.05751), vectors, and parts of different levels. For long samples `attention` may be sparse:
local, or local and strided in turn (Child et al., "Generating long sequences with sparse transformers",
arXiv:1904.10509).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field as Described
from torch import Tensor, nn

from ...errors import ConfigError
from ...likelihoods import AnyLikelihood, Likelihood
from ...nets.attention import Attention, KVCache, Rotary, SwiGLU, require_heads
from ...nets.causal import shift
from ...nets.init import zero_init
from ...nets.sparse_attention import Full, Local, Pattern, Strided
from ...samplers.ancestral import Step
from ...spaces import Space
from .. import FamilyConfig, families
from .legal import features_of
from .model import Autoregressive, apply_mask
from .raster import positions, raster


class _Block(nn.Module):
    """Attention, then a gated feed-forward layer, each on normalised tokens and with a residual."""

    fsdp_unit: ClassVar[bool] = True

    def __init__(self, width: int, heads: int, hidden: int, rotary: Rotary, pattern: Pattern) -> None:
        super().__init__()
        self.attention_norm, self.feedforward_norm = nn.RMSNorm(width), nn.RMSNorm(width)
        self.attention = Attention(width, heads, bias=False, rotary=rotary, pattern=pattern)
        self.feedforward = SwiGLU(width, hidden)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Tokens (B, T, width) to tokens; `mask` (B, 1, width) multiplies what is added to them."""
        x = x + apply_mask(self.attention(self.attention_norm(x)), mask)
        return x + apply_mask(self.feedforward(self.feedforward_norm(x)), mask)

    def step(self, x: Tensor, cache: KVCache) -> Tensor:
        """The same for the next token alone, (B, 1, width), with a cache of those before."""
        x = x + self.attention.step(self.attention_norm(x), cache)
        return x + self.feedforward(self.feedforward_norm(x))


class Decoder(nn.Module):
    """The network: inputs (B, D, K) and context (B, C) to parameters (B, D, P).

    Token i is the sum of embeddings of feature i - 1, of the position of feature i, and of the context; the first token
    has no feature.

    Args:
        positions: (D, A), of each feature on each axis of its space.
        context_features: C, features of the context.
        likelihood: of each feature.
        config: sizes.

    >>> from maquette.core.likelihoods.bernoulli import Bernoulli
    >>> network = Decoder(torch.arange(4)[:, None], 0, Bernoulli(), TransformerConfig(width=8, depth=1, heads=2))
    >>> network(torch.zeros(2, 4, 1), None).shape
    torch.Size([2, 4, 1])
    """

    blocks: Any  # a list of blocks
    no_weight_decay: ClassVar[tuple[str, ...]] = ("positions", "embed")

    def __init__(
        self, positions: Tensor, context_features: int, likelihood: Likelihood, config: TransformerConfig
    ) -> None:
        super().__init__()
        self.heads, self.tokens, self.dropout = config.heads, len(positions), config.dropout
        width = config.width
        self.dropout_shape = (config.depth, width)
        self.embed = nn.Linear(likelihood.embed_dim, width, bias=False)
        self.context_proj = nn.Linear(context_features, width, bias=False) if context_features else None
        self.positions = nn.Parameter(0.02 * torch.randn(self.tokens, width))
        rotary = Rotary(positions, width // config.heads)
        hidden = int(config.expansion * width)
        patterns = [config.pattern(layer) for layer in range(config.depth)]
        self.blocks = nn.ModuleList(_Block(width, config.heads, hidden, rotary, pattern) for pattern in patterns)
        self.norm = nn.RMSNorm(width)
        self.head = zero_init(nn.Linear(width, likelihood.parameters))

    def extra_repr(self) -> str:
        return f"tokens={self.tokens}, dropout={self.dropout}"

    def forward(self, inputs: Tensor, context: Tensor | None, mask: Tensor | None = None) -> Tensor:
        """Parameters (B, D, P); `mask` (B, *dropout_shape) multiplies the output of each block's two layers."""
        tokens = self._conditioned(shift(self.embed(inputs), 1) + self.positions, context)
        masks = [None] * len(self.blocks) if mask is None else mask[:, :, None].unbind(1)
        for block, each in zip(self.blocks, masks, strict=True):
            tokens = block(tokens, each)
        return self.head(self.norm(tokens))

    def _conditioned(self, tokens: Tensor, context: Tensor | None) -> Tensor:
        """Tokens (B, T, width) with the context added."""
        return tokens if self.context_proj is None else tokens + self.context_proj(context)[:, None]

    def steps(self, context: Tensor | None, like: Tensor) -> Step:
        """Begin to draw (`Incremental`); keeps the keys and values of earlier tokens."""
        head_dim = self.positions.shape[1] // self.heads
        caches = [KVCache(like, self.heads, self.tokens, head_dim) for _ in self.blocks]

        def step(previous: Tensor | None) -> Tensor:
            position = self.positions[caches[0].filled].expand(like.shape[0], 1, -1)
            token = position if previous is None else position + self.embed(previous)[:, None]
            token = self._conditioned(token, context)
            for block, cache in zip(self.blocks, caches, strict=True):
                token = block.step(token, cache)
            return self.head(self.norm(token))[:, 0]

        return step


@families.register("transformer")
class TransformerConfig(FamilyConfig):
    """Decoder-only transformer.

    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Sequence
    >>> model = TransformerConfig(width=16, depth=2, heads=2).build(Sequence(length=8, vocabulary=5))
    >>> x = model.sample(2, noise=KeyedNoise(0, torch.arange(2)))
    >>> x.shape, model.log_prob(x).shape
    (torch.Size([2, 8]), torch.Size([2]))
    """

    summary: ClassVar[str] = "each feature a token that attends to all before it"
    reference: ClassVar[str] = "Vaswani et al., arXiv:1706.03762; Child et al., arXiv:1904.10509"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "sequence", "product")
    supports: ClassVar[tuple[str, ...]] = ("binary", "levels", "interval", "real")
    model: ClassVar[type[nn.Module]] = Autoregressive

    kind: Literal["transformer"] = "transformer"
    width: int = Described(default=256, ge=2, description="width of a token")
    depth: int = Described(default=8, ge=1, description="blocks")
    heads: int = Described(default=8, ge=1, description="attention heads; `width` / `heads` must be even")
    expansion: float = Described(default=8 / 3, gt=0, description="hidden width of the feed-forward layer over `width`")
    attention: Literal["full", "local", "strided"] = Described(
        default="full",
        description="tokens that a token attends to: all before; the last `window`; or, in alternate blocks, the last "
        "`window` and every `window`-th before",
    )
    window: int = Described(
        default=128, ge=1, description="tokens that local attention sees; also the stride of strided attention"
    )
    dropout: float = Described(
        default=0.0, ge=0, lt=1, description="probability with which a block's features are dropped in training"
    )
    likelihood: AnyLikelihood | None = None

    def build(self, space: Space, condition: Space | None = None) -> Autoregressive:
        layout, likelihood = features_of(space, condition, self.likelihood)
        require_heads("transformer", self.width, self.heads)
        if self.width // self.heads % 2:
            raise ConfigError(
                f"transformer: a width of {self.width} gives each of {self.heads} heads an odd number of features, "
                "but rotary positions need pairs; change either."
            )
        if layout.features < 2:
            raise ConfigError("transformer: expected at least 2 features per sample, found 1; use fvsbn.")
        order = raster(space)
        network = Decoder(positions(space)[order], layout.context_features, likelihood, self)
        return Autoregressive(layout, likelihood, network, order)

    def pattern(self, layer: int) -> Pattern:
        """Which tokens a block attends to."""
        if self.attention == "full":
            return Full()
        return Strided(self.window) if self.attention == "strided" and layer % 2 else Local(self.window)

    @classmethod
    def example(cls) -> TransformerConfig:
        return cls(width=4, depth=2, heads=2, expansion=2.0, attention="strided", window=2)
