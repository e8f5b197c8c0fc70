"""Attention and what surrounds it in today's transformers.

Vaswani et al., arXiv:1706.03762; rotary positions by Su et al., "RoFormer", arXiv:2104.09864; the gated layer by
Shazeer, "GLU variants improve transformer", arXiv:2002.05202.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ConfigError
from .sparse_attention import Pattern


class Rotary(nn.Module):
    """Turns pairs of features by angles that grow with the position, so that products depend on distances alone.

    With positions of several axes the pairs are dealt out to the axes in turn.

    Args:
        positions: (T, A), of each token on each axis.
        features: of a head, even.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, positions: Tensor, features: int) -> None:
        super().__init__()
        axes, pairs = positions.shape[1], features // 2
        pair = torch.arange(pairs)
        frequency = 10_000.0 ** -((pair // axes) / -(-pairs // axes))
        angle = positions[:, pair % axes] * frequency
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """Heads (B, H, T, F) of the tokens from `start` on."""
        a, b = x.chunk(2, dim=-1)
        cos, sin = (table[start : start + x.shape[2]] for table in (self.cos, self.sin))
        return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


class Cache:
    """Keys and values (B, H, T, F) of a sample that is being drawn, with room for all tokens from the start.

    Args:
        like: (B, ...) of the batch size, device and dtype wanted.
        heads: H.
        tokens: T.
        features: F, of a head.
    """

    def __init__(self, like: Tensor, heads: int, tokens: int, features: int) -> None:
        shape = (like.shape[0], heads, tokens, features)
        self.keys, self.values = like.new_empty(shape), like.new_empty(shape)
        self.filled = 0

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Put the next tokens' in, (B, H, t, F), and return all so far."""
        end = self.filled + keys.shape[2]
        self.keys[:, :, self.filled : end], self.values[:, :, self.filled : end] = keys, values
        self.filled = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class Attention(nn.Module):
    """Self-attention of several heads, through torch's fused kernels.

    Args:
        width: of a token.
        heads: they divide the width.
        bias: whether the projections have one.
        rotary: positions, for attention that knows them.
        pattern: what a token sees of those before it; None if all tokens see each other.
    """

    def __init__(
        self, width: int, heads: int, *, bias: bool = True, rotary: Rotary | None = None, pattern: Pattern | None = None
    ) -> None:
        super().__init__()
        self.heads, self.rotary, self.pattern = heads, rotary, pattern
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.out = nn.Linear(width, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, T, width) to the same."""
        q, k, v = self._heads(x, 0)
        seen = F.scaled_dot_product_attention(q, k, v) if self.pattern is None else self.pattern(q, k, v)
        return self._joined(seen)

    def following(self, x: Tensor, cache: Cache) -> Tensor:
        """The next token (B, 1, width) of causal attention to the same, which goes into the cache of those before."""
        assert self.pattern is not None
        token = cache.filled
        q, k, v = self._heads(x, token)
        k, v = (each[:, :, self.pattern.seen(token)] for each in cache.extend(k, v))
        return self._joined(F.scaled_dot_product_attention(q, k, v))

    def _heads(self, x: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, H, T, F) of the tokens from `start` on."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return (q, k, v) if self.rotary is None else (self.rotary(q, start), self.rotary(k, start), v)

    def _joined(self, seen: Tensor) -> Tensor:
        return self.out(seen.transpose(1, 2).flatten(2))


class SwiGLU(nn.Module):
    """W3 (silu(W1 x) * W2 x)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, 2 * inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to the same."""
        gate, value = self.up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * value)


def require_heads(kind: str, width: int, heads: int) -> None:
    """Raise `ConfigError` unless the heads divide the width."""
    if width % heads:
        raise ConfigError(f"{kind}: {heads} heads do not divide a width of {width}.")
