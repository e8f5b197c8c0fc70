"""Residual MLP modulated by time and context: few, large matrix products, fast on CPUs.

Pre-normalised residual blocks whose shift, scale and gate come from the conditioning features, as in the transformer
blocks of DiT (Peebles & Xie, arXiv:2212.09748) without attention.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from ..context import NO_CONTEXT, Context
from ..spaces import Space
from . import NetworkConfig, networks
from .embeddings import Conditioner, Modulation
from .init import zero_init


class _Block(nn.Module):
    """x + gate * W2 silu(W1 (norm(x) * (1 + scale) + shift))."""

    def __init__(self, width: int, expansion: float) -> None:
        super().__init__()
        inner = int(width * expansion)
        self.width = width
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)

    def forward(self, x: Tensor, shift: Tensor, scale: Tensor, gate: Tensor) -> Tensor:
        """x, shift, scale and gate, all (B, width), to (B, width)."""
        hidden = F.layer_norm(x, (self.width,)) * (1 + scale) + shift
        return x + gate * self.down(F.silu(self.up(hidden)))


class ResidualMLP(nn.Module):
    """The network: x (B, in_features) to (B, out_features) given time (B,) and context (B, C).

    Args:
        in_features: features of x.
        out_features: features returned.
        context_features: C, features of the context.
        width: width of the residual stream.
        depth: number of blocks.
        expansion: inner width of a block over `width`.
        time: whether a time is given.

    >>> import torch
    >>> network = ResidualMLP(3, 2, context_features=1, width=8, depth=1, expansion=2.0, time=False)
    >>> network(torch.zeros(4, 3), None, Context(torch.zeros(4, 1))).shape
    torch.Size([4, 2])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        context_features: int,
        *,
        width: int,
        depth: int,
        expansion: float,
        time: bool,
    ) -> None:
        super().__init__()
        self.width = width
        self.conditioner = Conditioner(context_features, width, time=time)
        self.modulation = Modulation(width, width, 3 * depth + 2)
        self.in_proj = nn.Linear(in_features, width)
        self.blocks = nn.ModuleList(_Block(width, expansion) for _ in range(depth))
        self.out_proj = zero_init(nn.Linear(width, out_features))

    def forward(self, x: Tensor, time: Tensor | None = None, context: Context = NO_CONTEXT) -> Tensor:
        """x (B, in_features), time (B,) and context to (B, out_features)."""
        shift, scale, *modulation = self.modulation(self.conditioner(x, time, context.vector))
        hidden = self.in_proj(x)
        for i, block in enumerate(self.blocks):
            hidden = block(hidden, *modulation[3 * i : 3 * i + 3])
        return self.out_proj(F.layer_norm(hidden, (self.width,)) * (1 + scale) + shift)


@networks.register("residual")
class ResidualConfig(NetworkConfig):
    """Residual MLP with adaptive layer normalisation.

    >>> import torch
    >>> from maquette.core.spaces import Vector
    >>> net = ResidualConfig(width=16).build(Vector(dim=2), Vector(dim=1), time=True)
    >>> net(torch.zeros(3, 2), torch.zeros(3), Context(torch.zeros(3, 1))).shape
    torch.Size([3, 2])
    """

    summary: ClassVar[str] = "residual MLP whose layer normalisation is modulated by time and condition"

    kind: Literal["residual"] = "residual"
    width: int = Field(default=256, ge=1, description="width of the residual stream")
    depth: int = Field(default=3, ge=1, description="residual blocks")
    expansion: float = Field(default=2.0, gt=0, description="inner width of a block over `width`")

    def build(self, space: Space, condition: Space | None = None, *, time: bool = False) -> ResidualMLP:
        layout = self.layout(space, condition)
        return ResidualMLP(
            layout.features,
            layout.features,
            layout.context_features,
            width=self.width,
            depth=self.depth,
            expansion=self.expansion,
            time=time,
        )
