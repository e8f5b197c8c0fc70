"""Patch transformer over a field, or over the parts of a product, with adaptive normalisation.

Each field is cut into patches and each vector taken whole; every piece is one token with a linear projection per
part, a learned position, and blocks whose normalisation is steered by time and condition (Peebles & Xie, "DiT",
arXiv:2212.09748). Grids may have any number of axes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field as Described
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ConfigError, did_you_mean
from ..layout import Layout, parts
from ..spaces import Field, Space, Vector
from . import NetworkConfig, networks
from .attention import Attention, require_heads
from .embeddings import Conditioner, Modulation


@dataclass(frozen=True)
class Group:
    """Parts that are cut into equally many tokens of equally many numbers: one batched product serves them all."""

    parts: int
    tokens: int
    features: int

    @property
    def size(self) -> int:
        return self.parts * self.tokens * self.features


def cut(part: Vector | Field, patch: tuple[int, ...], start: int) -> Tensor:
    """Positions in a flattened sample of the numbers of each token, shape (tokens, features)."""
    index = start + torch.arange(math.prod(part.shape))
    if isinstance(part, Vector):
        return index[None]
    sides = [number for side, step in zip(part.grid, patch, strict=True) for number in (side // step, step)]
    index = index.reshape(part.channels, *sides)
    blocks, inner = range(1, index.ndim, 2), range(2, index.ndim, 2)
    return index.permute(*blocks, 0, *inner).reshape(-1, part.channels * math.prod(patch))


class Tokens(nn.Module):
    """Between rows (B, D) and tokens (B, T, width), with projections of their own for every part."""

    order: Tensor
    inverse: Tensor

    def __init__(self, pieces: list[Tensor], width: int) -> None:
        super().__init__()
        members: dict[tuple[int, ...], list[Tensor]] = {}
        for piece in pieces:
            members.setdefault(tuple(piece.shape), []).append(piece)
        self.groups = [Group(len(group), *shape) for shape, group in members.items()]
        order = torch.cat([piece.flatten() for group in members.values() for piece in group])
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("inverse", order.argsort(), persistent=False)
        self.enter = nn.ParameterList(
            torch.randn(group.parts, group.features, width) / math.sqrt(group.features) for group in self.groups
        )
        self.leave = nn.ParameterList(torch.zeros(group.parts, width, group.features) for group in self.groups)
        self.bias = nn.ParameterList(torch.zeros(group.parts, 1, group.features) for group in self.groups)

    @property
    def count(self) -> int:
        """Number of tokens."""
        return sum(group.parts * group.tokens for group in self.groups)

    def cut(self, x: Tensor) -> Tensor:
        """Rows (B, D) to tokens (B, T, width)."""
        pieces = x.index_select(1, self.order).split([group.size for group in self.groups], dim=1)
        tokens = [
            (piece.unflatten(1, (group.parts, group.tokens, group.features)) @ weight).flatten(1, 2)
            for piece, group, weight in zip(pieces, self.groups, self.enter, strict=True)
        ]
        return torch.cat(tokens, dim=1)

    def join(self, tokens: Tensor) -> Tensor:
        """Tokens (B, T, width) to rows (B, D)."""
        pieces = tokens.split([group.parts * group.tokens for group in self.groups], dim=1)
        rows = [
            (piece.unflatten(1, (group.parts, group.tokens)) @ weight + bias).flatten(1)
            for piece, group, weight, bias in zip(pieces, self.groups, self.leave, self.bias, strict=True)
        ]
        return torch.cat(rows, dim=1).index_select(1, self.inverse)


class Block(nn.Module):
    """Self-attention, then an MLP, each normalised and gated by the conditioning features."""

    def __init__(self, width: int, heads: int, expansion: float) -> None:
        super().__init__()
        inner = int(width * expansion)
        self.width = width
        self.attention = Attention(width, heads)
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)

    def _steer(self, x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        return F.layer_norm(x, (self.width,)) * (1 + scale[:, None]) + shift[:, None]

    def forward(self, x: Tensor, steering: tuple[Tensor, ...]) -> Tensor:
        """Tokens (B, T, width), and six tensors (B, width)."""
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = steering
        x = x + gate[:, None] * self.attention(self._steer(x, shift, scale))
        hidden = F.gelu(self.up(self._steer(x, shift_mlp, scale_mlp)), approximate="tanh")
        return x + gate_mlp[:, None] * self.down(hidden)


class PatchTransformer(nn.Module):
    """The network: rows (B, D) to rows (B, D) given time (B,) and condition (B, C)."""

    def __init__(self, pieces: list[Tensor], context_features: int, config: TransformerConfig, *, time: bool) -> None:
        super().__init__()
        self.width = width = config.width
        self.tokens = Tokens(pieces, width)
        self.positions = nn.Parameter(0.02 * torch.randn(self.tokens.count, width))
        self.conditioner = Conditioner(context_features, width, time=time)
        self.modulation = Modulation(width, width, 6 * config.depth + 2)
        self.blocks = nn.ModuleList(Block(width, config.heads, config.expansion) for _ in range(config.depth))

    def forward(self, x: Tensor, time: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        """x (B, D), time (B,), condition (B, C) to (B, D)."""
        shift, scale, *steering = self.modulation(self.conditioner(x, time, condition))
        tokens = self.tokens.cut(x) + self.positions
        for i, block in enumerate(self.blocks):
            tokens = block(tokens, tuple(steering[6 * i : 6 * i + 6]))
        tokens = F.layer_norm(tokens, (self.width,)) * (1 + scale[:, None]) + shift[:, None]
        return self.tokens.join(tokens)


@networks.register("transformer")
class TransformerConfig(NetworkConfig):
    """Patch transformer."""

    summary: ClassVar[str] = "transformer over patches of fields and whole vectors"

    kind: Literal["transformer"] = "transformer"
    width: int = Described(default=192, ge=1, description="width of a token")
    depth: int = Described(default=6, ge=1, description="number of blocks")
    heads: int = Described(default=6, ge=1, description="attention heads; they divide `width`")
    expansion: float = Described(default=4.0, gt=0, description="inner width of a block's MLP over `width`")
    patch: tuple[int, ...] | dict[str, tuple[int, ...]] = Described(
        default={}, description="cells of a patch along each axis of the grid: for all fields alike, or by part"
    )

    def build(self, space: Space, condition: Space | None = None, *, time: bool = False) -> PatchTransformer:
        require_heads("transformer", self.width, self.heads)
        layout = Layout(space, condition)
        named = dict(parts(space))
        for name in self.patch if isinstance(self.patch, dict) else ():
            if name not in named:
                raise ConfigError(
                    f'transformer.patch: there is no part "{name}".{did_you_mean(name, named)} Known: {list(named)}.'
                )
        pieces, start = [], 0
        for name, part in named.items():
            assert isinstance(part, Vector | Field)
            pieces.append(cut(part, self._patch(name, part), start))
            start += pieces[-1].numel()
        return PatchTransformer(pieces, layout.context_features, self, time=time)

    def _patch(self, name: str, part: Vector | Field) -> tuple[int, ...]:
        if isinstance(part, Vector):
            return ()
        patch = self.patch.get(name) if isinstance(self.patch, dict) else self.patch
        where = f'part "{name}"' if name else "the field"
        if patch is None:
            raise ConfigError(f"transformer.patch: say how {where}, a grid of {list(part.grid)}, is cut into patches.")
        fits = len(patch) == len(part.grid) and all(
            step > 0 and side % step == 0 for side, step in zip(part.grid, patch, strict=True)
        )
        if not fits:
            raise ConfigError(
                f"transformer.patch: patches of {list(patch)} do not tile {where}, a grid of {list(part.grid)}; "
                "give one divisor per axis."
            )
        return patch
