"""Decoder-only transformer: every number is a token that sees all numbers before it.

Vaswani et al., arXiv:1706.03762, as it is built today: rotary positions (arXiv:2104.09864), a root-mean-square norm
before each branch (arXiv:1910.07467), SwiGLU (arXiv:2002.05202), keys and values kept while sampling. It serves
sequences of any vocabulary, rasters of one or several channels (Parmar et al., "Image Transformer", arXiv:1802.05751)
and plain vectors alike. Long ones ask for sparse `attention`: to the last numbers alone, or, as in Child et al.,
"Generating long sequences with sparse transformers", arXiv:1904.10509, to these and to every so many in turn.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field as Described
from torch import Tensor, nn

from ...errors import ConfigError
from ...layout import Layout
from ...likelihoods import SUPPORTS, AnyLikelihood, Likelihood, likelihood_of
from ...nets.attention import Attention, Cache, Rotary, SwiGLU, require_heads
from ...nets.causal import shift
from ...nets.init import zero_init
from ...nets.sparse_attention import All, Every, Last, Pattern
from ...samplers.ancestral import Step
from ...spaces import Space
from .. import FamilyConfig, families
from .model import Autoregressive, kept
from .raster import positions, raster


class Block(nn.Module):
    """Attention, then a gated layer, each on normalised tokens and added to what came in."""

    def __init__(self, width: int, heads: int, inner: int, rotary: Rotary, pattern: Pattern) -> None:
        super().__init__()
        self.before_attention, self.before_layer = nn.RMSNorm(width), nn.RMSNorm(width)
        self.attention = Attention(width, heads, bias=False, rotary=rotary, pattern=pattern)
        self.layer = SwiGLU(width, inner)

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Tokens (B, T, width); `keep` (B, 1, width) multiplies what is added to them."""
        x = x + kept(self.attention(self.before_attention(x)), keep)
        return x + kept(self.layer(self.before_layer(x)), keep)

    def following(self, x: Tensor, cache: Cache) -> Tensor:
        """The next token (B, 1, width), and those before it in the cache."""
        x = x + self.attention.following(self.before_attention(x), cache)
        return x + self.layer(self.before_layer(x))


class Decoder(nn.Module):
    """The network: inputs (B, D, K) and context (B, C) to parameters (B, D, P).

    Token i is the number before i, at the place of i, and the condition; the first one has no number.

    Args:
        places: (D, A), where each number is on each axis of its space.
        context_features: C, features of the context.
        law: of each number.
        config: sizes.
    """

    blocks: Any  # a list of blocks

    def __init__(self, places: Tensor, context_features: int, law: Likelihood, config: TransformerConfig) -> None:
        super().__init__()
        self.heads, self.tokens, self.dropout = config.heads, len(places), config.dropout
        width = config.width
        self.dropped = (config.depth, width)
        self.enter = nn.Linear(law.embed_dim, width, bias=False)
        self.condition = nn.Linear(context_features, width, bias=False) if context_features else None
        self.places = nn.Parameter(0.02 * torch.randn(self.tokens, width))
        rotary = Rotary(places, width // config.heads)
        inner = int(config.expansion * width)
        patterns = [config.pattern(layer) for layer in range(config.depth)]
        self.blocks = nn.ModuleList(Block(width, config.heads, inner, rotary, pattern) for pattern in patterns)
        self.norm = nn.RMSNorm(width)
        self.leave = zero_init(nn.Linear(width, law.parameters))

    def forward(self, inputs: Tensor, context: Tensor | None, keep: Tensor | None = None) -> Tensor:
        """Parameters (B, D, P); `keep` (B, *dropped) multiplies what blocks add."""
        tokens = self._steered(shift(self.enter(inputs), 1) + self.places, context)
        masks = [None] * len(self.blocks) if keep is None else keep[:, :, None].unbind(1)
        for block, each in zip(self.blocks, masks, strict=True):
            tokens = block(tokens, each)
        return self.leave(self.norm(tokens))

    def _steered(self, tokens: Tensor, context: Tensor | None) -> Tensor:
        """Tokens (B, T, width) that know the condition."""
        return tokens if self.condition is None else tokens + self.condition(context)[:, None]

    def steps(self, context: Tensor | None, like: Tensor) -> Step:
        """Draw with keys and values of earlier tokens remembered (`Incremental`)."""
        features = self.places.shape[1] // self.heads
        caches = [Cache(like, self.heads, self.tokens, features) for _ in self.blocks]

        def step(previous: Tensor | None) -> Tensor:
            place = self.places[caches[0].filled].expand(like.shape[0], 1, -1)
            token = self._steered(place if previous is None else place + self.enter(previous)[:, None], context)
            for block, cache in zip(self.blocks, caches, strict=True):
                token = block.following(token, cache)
            return self.leave(self.norm(token))[:, 0]

        return step


@families.register("transformer")
class TransformerConfig(FamilyConfig):
    """Decoder-only transformer."""

    summary: ClassVar[str] = "each number a token that attends to all before it"
    reference: ClassVar[str] = "Vaswani et al., arXiv:1706.03762; Child et al., arXiv:1904.10509"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "sequence", "product")
    supports: ClassVar[tuple[str, ...]] = ("binary", "levels", "interval", "real")
    model: ClassVar[type[nn.Module]] = Autoregressive

    kind: Literal["transformer"] = "transformer"
    width: int = Described(default=256, ge=2, description="width of a token")
    depth: int = Described(default=8, ge=1, description="blocks")
    heads: int = Described(default=8, ge=1, description="attention heads; they divide `width` into even parts")
    expansion: float = Described(default=8 / 3, gt=0, description="inner width of the gated layer over `width`")
    attention: Literal["full", "local", "strided"] = Described(
        default="full",
        description="numbers that a block sees: all before; the last `window`; or, strided, blocks see these and every "
        "`window`-th before in turn",
    )
    window: int = Described(default=128, ge=1, description="tokens that local attention sees; the stride, if strided")
    dropout: float = Described(default=0.0, ge=0, lt=1, description="share of a block's features dropped in training")
    likelihood: AnyLikelihood | None = None

    def build(self, space: Space, condition: Space | None = None) -> Autoregressive:
        layout = Layout(space, condition, SUPPORTS)
        require_heads("transformer", self.width, self.heads)
        if self.width // self.heads % 2:
            raise ConfigError(
                f"transformer: {self.heads} heads leave an odd part of a width of {self.width} to each, "
                "of which pairs cannot be turned; change either."
            )
        if layout.features < 2:
            raise ConfigError("transformer: expected at least 2 numbers per sample, found 1; use fvsbn.")
        law: Any = likelihood_of(layout.support, self.likelihood)
        order = raster(space)
        return Autoregressive(layout, law, Decoder(positions(space)[order], layout.context_features, law, self), order)

    def pattern(self, layer: int) -> Pattern:
        """What a block's tokens see."""
        if self.attention == "full":
            return All()
        return Every(self.window) if self.attention == "strided" and layer % 2 else Last(self.window)

    @classmethod
    def example(cls) -> TransformerConfig:
        return cls(width=4, depth=2, heads=2, expansion=2.0, attention="strided", window=2)
