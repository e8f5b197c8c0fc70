"""Which tokens a causal attention sees of those before: all, the last ones, or one in so many.

A mask would spend T^2 on what it hides. Here the tokens are cut into blocks, so that torch's fused kernels are given
little but what is seen: the local attention of Parmar et al., "Image Transformer", arXiv:1802.05751, and the two halves
of the strided one of Child et al., "Generating long sequences with sparse transformers", arXiv:1904.10509.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F


class Pattern(Protocol):
    """What a token sees of itself and the tokens before it."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention of all T tokens at once; queries, keys, values and result are heads (B, H, T, F)."""
        ...

    def seen(self, token: int) -> slice:
        """The tokens that one of them sees."""
        ...


@dataclass(frozen=True)
class All:
    """Every token before; T^2 products."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    def seen(self, token: int) -> slice:
        return slice(0, token + 1)


@dataclass(frozen=True)
class Last:
    """The last `window` tokens, one's own among them: blocks look at themselves and the one before; 2 T w products."""

    window: int

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        batch, _, tokens, _ = q.shape
        window = min(self.window, tokens)
        q, k, v = (_cut(each, window).flatten(0, 1) for each in (q, k, v))  # (B H, blocks, w, F)
        k, v = (torch.cat((F.pad(each, (0, 0, 0, 0, 1, 0))[:, :-1], each), dim=2) for each in (k, v))
        block, query, key = (torch.arange(count, device=q.device) for count in (q.shape[1], window, 2 * window))
        distance = window + query[:, None] - key
        near = (distance >= 0) & (distance < window)
        there = (block[:, None] > 0) | (key >= window)  # nothing is before the first block
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=near & there[:, None])
        return found.flatten(1, 2)[:, :tokens].unflatten(0, (batch, -1))

    def seen(self, token: int) -> slice:
        return slice(max(0, token + 1 - self.window), token + 1)


@dataclass(frozen=True)
class Every:
    """Every `stride`-th token, counted back from one's own: each residue looks at itself; T^2 / s products."""

    stride: int

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        batch, _, tokens, _ = q.shape
        stride = min(self.stride, tokens)
        q, k, v = (_cut(each, stride).permute(0, 3, 1, 2, 4).flatten(0, 1) for each in (q, k, v))  # (B s, H, T / s, F)
        found = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return found.unflatten(0, (batch, stride)).permute(0, 2, 3, 1, 4).flatten(2, 3)[:, :, :tokens]

    def seen(self, token: int) -> slice:
        return slice(token % self.stride, token + 1, self.stride)


def _cut(x: Tensor, size: int) -> Tensor:
    """Heads (B, H, T, F) to blocks of consecutive tokens (B, H, blocks, size, F), the last filled up with zeros."""
    return F.pad(x, (0, 0, 0, -x.shape[2] % size)).unflatten(2, (-1, size))
