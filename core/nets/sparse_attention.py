"""Patterns of causal attention: to all tokens before, to the last ones, or to every n-th one.

A dense mask would cost T^2 operations, most of them for masked pairs. Here tokens are cut into blocks, so that torch's
fused kernels compute few masked pairs: the local attention of Parmar et al., "Image Transformer",
arXiv:1802.05751, and the two halves of the strided one of Child et al., "Generating long sequences with sparse
transformers", arXiv:1904.10509.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F


class Pattern(Protocol):
    """Which tokens a token attends to: itself and some or all before it."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention of all T tokens at once; queries, keys, values and result are heads (B, H, T, F)."""
        ...

    def visible(self, token: int) -> slice:
        """The tokens that one token attends to."""
        ...


@dataclass(frozen=True)
class Full:
    """All tokens before; T^2 products.

    >>> list(range(9))[Full().visible(5)]
    [0, 1, 2, 3, 4, 5]
    """

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    def visible(self, token: int) -> slice:
        return slice(0, token + 1)


@dataclass(frozen=True)
class Local:
    """The last `window` tokens, its own included; blocks attend to themselves and the block before, 2 T w products.

    >>> list(range(9))[Local(3).visible(5)]
    [3, 4, 5]
    """

    window: int

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        batch, _, tokens, _ = q.shape
        window = min(self.window, tokens)
        q, k, v = (_blocks(each, window).flatten(0, 1) for each in (q, k, v))  # (B H, blocks, w, F)
        k, v = (torch.cat((F.pad(each, (0, 0, 0, 0, 1, 0))[:, :-1], each), dim=2) for each in (k, v))
        block, query, key = (torch.arange(count, device=q.device) for count in (q.shape[1], window, 2 * window))
        distance = window + query[:, None] - key
        near = (distance >= 0) & (distance < window)
        exists = (block[:, None] > 0) | (key >= window)  # there is no block before the first one
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=near & exists[:, None])
        return found.flatten(1, 2)[:, :tokens].unflatten(0, (batch, -1))

    def visible(self, token: int) -> slice:
        return slice(max(0, token + 1 - self.window), token + 1)


@dataclass(frozen=True)
class Strided:
    """Every `stride`-th token, counted back from its own: T^2 / s products.

    >>> list(range(9))[Strided(3).visible(5)]
    [2, 5]
    """

    stride: int

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        batch, _, tokens, _ = q.shape
        stride = min(self.stride, tokens)
        q, k, v = (_blocks(each, stride).permute(0, 3, 1, 2, 4).flatten(0, 1) for each in (q, k, v))  # B s, H, T / s, F
        found = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return found.unflatten(0, (batch, stride)).permute(0, 2, 3, 1, 4).flatten(2, 3)[:, :, :tokens]

    def visible(self, token: int) -> slice:
        return slice(token % self.stride, token + 1, self.stride)


def _blocks(x: Tensor, size: int) -> Tensor:
    """Heads (B, H, T, F) to blocks of consecutive tokens (B, H, blocks, size, F), the last one padded with zeros."""
    return F.pad(x, (0, 0, 0, -x.shape[2] % size)).unflatten(2, (-1, size))
