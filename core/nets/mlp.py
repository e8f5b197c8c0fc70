"""The multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ..config import Width
from ..context import NO_CONTEXT, Context
from ..spaces import Space
from . import NetworkConfig, networks
from .embeddings import TimeEmbedding
from .init import zero_init


class MLP(nn.Sequential):
    """Linear layers with SiLU between them: (..., in_features) to (..., out_features).

    >>> MLP(3, (8,), 2)
    MLP(
      (0): Linear(in_features=3, out_features=8, bias=True)
      (1): SiLU()
      (2): Linear(in_features=8, out_features=2, bias=True)
    )
    """

    def __init__(self, in_features: int, hidden: Sequence[int], out_features: int) -> None:
        layers: list[nn.Module] = []
        for before, after in zip((in_features, *hidden), hidden, strict=False):
            layers += [nn.Linear(before, after), nn.SiLU()]
        super().__init__(*layers, nn.Linear((in_features, *hidden)[-1], out_features))


class MLPBackbone(nn.Module):
    """An MLP of a sample concatenated with its context and the embedding of its time; starts as the zero function.

    >>> net = MLPBackbone(features=3, context_features=2, hidden=(8,), time=True)
    >>> net(torch.ones(4, 3), torch.zeros(4), Context(torch.ones(4, 2))).shape
    torch.Size([4, 3])
    """

    def __init__(self, features: int, context_features: int, hidden: Sequence[int], *, time: bool) -> None:
        super().__init__()
        self.time = TimeEmbedding() if time else None
        inputs = features + context_features + (self.time.features if self.time is not None else 0)
        self.net = MLP(inputs, hidden, features)
        zero_init(self.net[-1])

    def forward(self, x: Tensor, time: Tensor | None = None, context: Context = NO_CONTEXT) -> Tensor:
        """x (B, D), time (B,) and context to (B, D)."""
        inputs = [x] if context.vector is None else [x, context.vector]
        if self.time is not None and time is not None:
            inputs.append(self.time(time))
        return self.net(torch.cat(inputs, dim=1))


@networks.register("mlp")
class MLPConfig(NetworkConfig):
    """Multi-layer perceptron.

    >>> from maquette.core.spaces import Vector
    >>> MLPConfig(hidden=(8,)).build(Vector(dim=3))(torch.ones(4, 3)).shape
    torch.Size([4, 3])
    """

    summary: ClassVar[str] = "multi-layer perceptron on flattened samples"

    kind: Literal["mlp"] = "mlp"
    hidden: tuple[Width, ...] = Field(default=(256, 256), description="widths of the hidden layers")

    def build(self, space: Space, condition: Space | None = None, *, time: bool = False) -> MLPBackbone:
        layout = self.layout(space, condition)
        return MLPBackbone(layout.features, layout.context_features, self.hidden, time=time)
