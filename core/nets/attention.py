"""Multi-head attention, rotary positions and gated layers of transformers.

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
    """Rotates pairs of features by angles proportional to the position: q . k depends on relative positions only.

    With positions on several axes, pairs are assigned to the axes in turn.

    Args:
        positions: (T, A), of each token on each axis.
        head_dim: features of a head, even.

    >>> rotary = Rotary(torch.arange(3)[:, None], head_dim=2)
    >>> rotary(torch.tensor([1.0, 0.0]).expand(1, 1, 3, 2))[0, 0, 1]  # a rotation by one radian
    tensor([0.5403, 0.8415])
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, positions: Tensor, head_dim: int) -> None:
        super().__init__()
        axes, pairs = positions.shape[1], head_dim // 2
        pair = torch.arange(pairs)
        frequency = 10_000.0 ** -((pair // axes) / -(-pairs // axes))
        angle = positions[:, pair % axes] * frequency
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def extra_repr(self) -> str:
        return f"tokens={len(self.cos)}, head_dim={2 * self.cos.shape[1]}"

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """Heads (B, H, T, F) of the tokens from `start` on."""
        a, b = x.chunk(2, dim=-1)
        cos, sin = (table[start : start + x.shape[2]] for table in (self.cos, self.sin))
        return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


class KVCache:
    """Keys and values (B, H, T, F) of the tokens drawn so far, allocated for all T tokens from the start.

    Args:
        like: (B, ...) of the batch size, device and dtype wanted.
        heads: H.
        tokens: T.
        head_dim: F, features of a head.

    >>> from maquette.core.nets.sparse_attention import Full
    >>> attention = Attention(width=8, heads=2, pattern=Full())
    >>> x = torch.randn(1, 3, 8)
    >>> cache = KVCache(x, heads=2, tokens=3, head_dim=4)
    >>> one_by_one = torch.cat([attention.step(token, cache) for token in x.split(1, dim=1)], dim=1)
    >>> torch.allclose(one_by_one, attention(x), atol=1e-6)
    True
    """

    def __init__(self, like: Tensor, heads: int, tokens: int, head_dim: int) -> None:
        shape = (like.shape[0], heads, tokens, head_dim)
        self.keys, self.values = like.new_empty(shape), like.new_empty(shape)
        self.filled = 0

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append keys and values of the next tokens, both (B, H, t, F), and return all so far."""
        end = self.filled + keys.shape[2]
        self.keys[:, :, self.filled : end], self.values[:, :, self.filled : end] = keys, values
        self.filled = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class Attention(nn.Module):
    """Multi-head self-attention, by torch's fused kernels.

    Args:
        width: of a token.
        heads: they divide the width.
        bias: whether the projections have one.
        rotary: rotary positions, if any.
        pattern: which tokens before it a token attends to; None if all tokens attend to each other.

    >>> from maquette.core.nets.sparse_attention import Local
    >>> attention = Attention(width=8, heads=2, pattern=Local(window=4))
    >>> attention(torch.zeros(5, 10, 8)).shape
    torch.Size([5, 10, 8])
    """

    def __init__(
        self, width: int, heads: int, *, bias: bool = True, rotary: Rotary | None = None, pattern: Pattern | None = None
    ) -> None:
        super().__init__()
        self.heads, self.rotary, self.pattern = heads, rotary, pattern
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.out = nn.Linear(width, width, bias=bias)

    def extra_repr(self) -> str:
        return f"heads={self.heads}, pattern={self.pattern}"

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, T, width) to tokens (B, T, width)."""
        q, k, v = self._split_heads(x, 0)
        values = F.scaled_dot_product_attention(q, k, v) if self.pattern is None else self.pattern(q, k, v)
        return self._merge_heads(values)

    def step(self, x: Tensor, cache: KVCache) -> Tensor:
        """The same for the next token alone, (B, 1, width). Reads earlier tokens from the cache and adds this one.

        Raises:
            TypeError: attention without a pattern is not causal.
        """
        if self.pattern is None:
            raise TypeError("Attention without a pattern is not causal: its tokens cannot be computed one by one.")
        token = cache.filled
        q, k, v = self._split_heads(x, token)
        k, v = (each[:, :, self.pattern.visible(token)] for each in cache.extend(k, v))
        return self._merge_heads(F.scaled_dot_product_attention(q, k, v))

    def _split_heads(self, x: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, H, T, F) of the tokens from `start` on."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return (q, k, v) if self.rotary is None else (self.rotary(q, start), self.rotary(k, start), v)

    def _merge_heads(self, values: Tensor) -> Tensor:
        """Heads (B, H, T, F) to tokens (B, T, width)."""
        return self.out(values.transpose(1, 2).flatten(2))


class SwiGLU(nn.Module):
    """W3 (silu(W1 x) * W2 x), the feed-forward layer of arXiv:2002.05202.

    Args:
        width: of a token.
        hidden: width in between.

    >>> SwiGLU(width=8, hidden=16)(torch.zeros(5, 10, 8)).shape
    torch.Size([5, 10, 8])
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to (..., width)."""
        gate, value = self.up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * value)


def require_heads(kind: str, width: int, heads: int) -> None:
    """Raise `ConfigError` unless the heads divide the width; `kind` is that of the config.

    >>> require_heads("transformer", width=10, heads=4)
    Traceback (most recent call last):
    maquette.core.errors.ConfigError: transformer: 4 heads do not divide a width of 10.
    """
    if width % heads:
        raise ConfigError(f"{kind}: {heads} heads do not divide a width of {width}.")
