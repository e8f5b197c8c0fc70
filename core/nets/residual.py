"""Residual MLP steered by time and condition: few, large operations, the workhorse on CPUs.

Pre-normalised residual blocks whose shift, scale and gate come from the conditioning features, as in the
transformer blocks of DiT (Peebles & Xie, arXiv:2212.09748) without attention.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from ..layout import Layout
from ..spaces import Space
from . import NetworkConfig, networks
from .embeddings import Conditioner, Modulation
from .init import zero_init


class ResidualBlock(nn.Module):
    """x + gate * W2 silu(W1 (norm(x) * (1 + scale) + shift))."""

    def __init__(self, width: int, expansion: float) -> None:
        super().__init__()
        inner = int(width * expansion)
        self.width = width
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)

    def forward(self, x: Tensor, shift: Tensor, scale: Tensor, gate: Tensor) -> Tensor:
        """All (B, width)."""
        hidden = F.layer_norm(x, (self.width,)) * (1 + scale) + shift
        return x + gate * self.down(F.silu(self.up(hidden)))


class ResidualMLP(nn.Module):
    """The network: (B, inputs) to (B, outputs) given time (B,) and condition (B, context).

    Args:
        inputs: features of x.
        outputs: features returned.
        context_features: C, features of the context.
        width: width of the residual stream.
        depth: number of blocks.
        expansion: inner width of a block over `width`.
        time: whether a time is given.
    """

    def __init__(
        self, inputs: int, outputs: int, context_features: int, *, width: int, depth: int, expansion: float, time: bool
    ) -> None:
        super().__init__()
        self.width = width
        self.conditioner = Conditioner(context_features, width, time=time)
        self.modulation = Modulation(width, width, 3 * depth + 2)
        self.enter = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(ResidualBlock(width, expansion) for _ in range(depth))
        self.leave = zero_init(nn.Linear(width, outputs))

    def forward(self, x: Tensor, time: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        """x (B, inputs), time (B,), condition (B, context) to (B, outputs)."""
        shift, scale, *steering = self.modulation(self.conditioner(x, time, condition))
        hidden = self.enter(x)
        for i, block in enumerate(self.blocks):
            hidden = block(hidden, *steering[3 * i : 3 * i + 3])
        return self.leave(F.layer_norm(hidden, (self.width,)) * (1 + scale) + shift)


@networks.register("residual")
class ResidualConfig(NetworkConfig):
    """Residual MLP with adaptive normalisation."""

    summary: ClassVar[str] = "residual MLP whose normalisation is steered by time and condition"

    kind: Literal["residual"] = "residual"
    width: int = Field(default=256, ge=1, description="width of the residual stream")
    depth: int = Field(default=3, ge=1, description="residual blocks")
    expansion: float = Field(default=2.0, gt=0, description="inner width of a block over `width`")

    def build(self, space: Space, condition: Space | None = None, *, time: bool = False) -> ResidualMLP:
        layout = Layout(space, condition)
        return ResidualMLP(
            layout.features,
            layout.features,
            layout.context_features,
            width=self.width,
            depth=self.depth,
            expansion=self.expansion,
            time=time,
        )
