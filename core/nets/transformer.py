"""Patch transformer over a field, or over the parts of a product, with adaptive layer normalisation.

Each field is cut into patches, and each patch or vector is one token. Every part has its own linear projection. Learned
positions are added, and the layer normalisation of the blocks is modulated by time and context (Peebles & Xie, "DiT",
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

from ..context import NO_CONTEXT, Context
from ..errors import ConfigError, did_you_mean
from ..layout import parts
from ..spaces import Field, Space, Vector
from . import NetworkConfig, networks
from .attention import Attention, require_heads
from .embeddings import Conditioner, Modulation


@dataclass(frozen=True)
class _TokenGroup:
    """Parts with the same number of tokens of the same size, which one batched matrix product embeds.

    Attributes:
        parts: number of parts.
        tokens: tokens of each part.
        features: features of each token.
    """

    parts: int
    tokens: int
    features: int

    @property
    def size(self) -> int:
        """Features of all its tokens."""
        return self.parts * self.tokens * self.features


def patch_indices(part: Vector | Field, patch: tuple[int, ...], start: int) -> Tensor:
    """Indices into a flattened sample of the features of each token, shape (tokens, features).

    Args:
        part: a field, or a vector, which is one token.
        patch: cells of a patch along each axis of the grid.
        start: index of the part's first feature.

    >>> patch_indices(Field(channels=1, grid=(2, 4)), (2, 2), 0)
    tensor([[0, 1, 4, 5],
            [2, 3, 6, 7]])
    """
    index = start + torch.arange(math.prod(part.shape))
    if isinstance(part, Vector):
        return index[None]
    sides = [number for side, step in zip(part.grid, patch, strict=True) for number in (side // step, step)]
    index = index.reshape(part.channels, *sides)
    blocks, inner = range(1, index.ndim, 2), range(2, index.ndim, 2)
    return index.permute(*blocks, 0, *inner).reshape(-1, part.channels * math.prod(patch))


class Patches(nn.Module):
    """Maps flattened samples (B, D) to tokens (B, T, width) and back, with two linear projections per part, in and out.

    Args:
        indices: for each part, the indices of its tokens' features, (tokens, features).
        width: width of a token.

    >>> patches = Patches([patch_indices(Field(channels=1, grid=(2, 4)), (2, 2), 0)], width=3)
    >>> patches
    Patches(
      2 tokens of width 3, 1 part of 2 x 4
      (in_proj): ParameterList(  (0): Parameter containing: [torch.float32 of size 1x4x3])
      (out_proj): ParameterList(  (0): Parameter containing: [torch.float32 of size 1x3x4])
      (bias): ParameterList(  (0): Parameter containing: [torch.float32 of size 1x1x4])
    )
    >>> patches.embed(torch.zeros(5, 8)).shape
    torch.Size([5, 2, 3])
    """

    order: Tensor
    inverse: Tensor
    no_weight_decay: ClassVar[tuple[str, ...]] = ("bias",)

    def __init__(self, indices: list[Tensor], width: int) -> None:
        super().__init__()
        self.width = width
        members: dict[tuple[int, ...], list[Tensor]] = {}
        for part in indices:
            members.setdefault(tuple(part.shape), []).append(part)
        self.groups = [_TokenGroup(len(group), *shape) for shape, group in members.items()]
        order = torch.cat([part.flatten() for group in members.values() for part in group])
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("inverse", order.argsort(), persistent=False)
        self.in_proj = nn.ParameterList(
            torch.randn(group.parts, group.features, width) / math.sqrt(group.features) for group in self.groups
        )
        self.out_proj = nn.ParameterList(torch.zeros(group.parts, width, group.features) for group in self.groups)
        self.bias = nn.ParameterList(torch.zeros(group.parts, 1, group.features) for group in self.groups)

    @property
    def count(self) -> int:
        """Number of tokens."""
        return sum(group.parts * group.tokens for group in self.groups)

    def embed(self, x: Tensor) -> Tensor:
        """Flattened samples (B, D) to tokens (B, T, width)."""
        pieces = x.index_select(1, self.order).split([group.size for group in self.groups], dim=1)
        tokens = [
            (piece.unflatten(1, (group.parts, group.tokens, group.features)) @ weight).flatten(1, 2)
            for piece, group, weight in zip(pieces, self.groups, self.in_proj, strict=True)
        ]
        return torch.cat(tokens, dim=1)

    def unembed(self, tokens: Tensor) -> Tensor:
        """Tokens (B, T, width) to flattened samples (B, D)."""
        pieces = tokens.split([group.parts * group.tokens for group in self.groups], dim=1)
        flat = [
            (piece.unflatten(1, (group.parts, group.tokens)) @ weight + bias).flatten(1)
            for piece, group, weight, bias in zip(pieces, self.groups, self.out_proj, self.bias, strict=True)
        ]
        return torch.cat(flat, dim=1).index_select(1, self.inverse)

    def extra_repr(self) -> str:
        groups = ", ".join(
            f"{group.parts} part{'s' * (group.parts > 1)} of {group.tokens} x {group.features}" for group in self.groups
        )
        return f"{self.count} tokens of width {self.width}, {groups}"


class _Block(nn.Module):
    """Self-attention, then an MLP, each with a layer normalisation and a gate that are modulated.

    Args:
        width: width of a token.
        heads: attention heads; they divide `width`.
        expansion: inner width of the MLP over `width`.
    """

    fsdp_unit: ClassVar[bool] = True

    def __init__(self, width: int, heads: int, expansion: float) -> None:
        super().__init__()
        inner = int(width * expansion)
        self.width = width
        self.attention = Attention(width, heads)
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)

    def _modulate(self, x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        return F.layer_norm(x, (self.width,)) * (1 + scale[:, None]) + shift[:, None]

    def forward(self, x: Tensor, modulation: tuple[Tensor, ...]) -> Tensor:
        """Tokens (B, T, width) and six tensors (B, width) to tokens (B, T, width)."""
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = modulation
        x = x + gate[:, None] * self.attention(self._modulate(x, shift, scale))
        hidden = F.gelu(self.up(self._modulate(x, shift_mlp, scale_mlp)), approximate="tanh")
        return x + gate_mlp[:, None] * self.down(hidden)


class PatchTransformer(nn.Module):
    """The network: flattened samples (B, D) to (B, D) given time (B,) and context (B, C).

    Args:
        indices: as for `Patches`.
        context_features: C, features of the context; 0 for none.
        config: widths, depth and heads.
        time: whether a time is given.

    >>> indices = [patch_indices(Field(channels=1, grid=(4, 4)), (2, 2), 0)]
    >>> network = PatchTransformer(indices, 3, PatchTransformerConfig(width=8, depth=1, heads=2), time=True)
    >>> network(torch.zeros(5, 16), torch.zeros(5), Context(torch.zeros(5, 3))).shape
    torch.Size([5, 16])
    """

    no_weight_decay: ClassVar[tuple[str, ...]] = ("positions",)

    def __init__(
        self, indices: list[Tensor], context_features: int, config: PatchTransformerConfig, *, time: bool
    ) -> None:
        super().__init__()
        self.width = width = config.width
        self.patches = Patches(indices, width)
        self.positions = nn.Parameter(0.02 * torch.randn(self.patches.count, width))
        self.conditioner = Conditioner(context_features, width, time=time)
        self.modulation = Modulation(width, width, 6 * config.depth + 2)
        self.blocks = nn.ModuleList(_Block(width, config.heads, config.expansion) for _ in range(config.depth))

    def forward(self, x: Tensor, time: Tensor | None = None, context: Context = NO_CONTEXT) -> Tensor:
        """x (B, D), time (B,) and context to (B, D)."""
        shift, scale, *modulation = self.modulation(self.conditioner(x, time, context.vector))
        tokens = self.patches.embed(x) + self.positions
        for i, block in enumerate(self.blocks):
            tokens = block(tokens, tuple(modulation[6 * i : 6 * i + 6]))
        tokens = F.layer_norm(tokens, (self.width,)) * (1 + scale[:, None]) + shift[:, None]
        return self.patches.unembed(tokens)


@networks.register("transformer")
class PatchTransformerConfig(NetworkConfig):
    """Patch transformer.

    >>> net = PatchTransformerConfig(width=8, depth=1, heads=2, patch=(2, 2)).build(Field(channels=1, grid=(4, 4)))
    >>> net.patches.count, net(torch.zeros(3, 16)).shape
    (4, torch.Size([3, 16]))
    """

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
        layout = self.layout(space, condition)
        named = dict(parts(space))
        for name in self.patch if isinstance(self.patch, dict) else ():
            if name not in named:
                raise ConfigError(
                    f'transformer.patch: there is no part "{name}".{did_you_mean(name, named)} Known: {list(named)}.'
                )
        indices, start = [], 0
        for name, part in named.items():
            if not isinstance(part, Vector | Field):
                where = f'part "{name}"' if name else "the sample"
                raise ConfigError(f"transformer: expected vectors and fields, found {where}, a {part.kind}.")
            indices.append(patch_indices(part, self._patch(name, part), start))
            start += indices[-1].numel()
        return PatchTransformer(indices, layout.context_features, self, time=time)

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
