"""The multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ..config import Width
from ..layout import Layout
from ..spaces import Space
from . import NetworkConfig, networks
from .embeddings import TimeEmbedding
from .init import zero_init


class MLP(nn.Sequential):
    """Linear layers with SiLU between them: (B, inputs) to (B, outputs)."""

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int) -> None:
        layers: list[nn.Module] = []
        for before, after in zip((inputs, *hidden), hidden, strict=False):
            layers += [nn.Linear(before, after), nn.SiLU()]
        super().__init__(*layers, nn.Linear((inputs, *hidden)[-1], outputs))


class MLPBackbone(nn.Module):
    """An MLP on the sample with its time features and condition laid beside it."""

    def __init__(self, width: int, context_features: int, hidden: Sequence[int], *, time: bool) -> None:
        super().__init__()
        self.time = TimeEmbedding() if time else None
        self.net = MLP(width + context_features + (self.time.features if self.time is not None else 0), hidden, width)
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        zero_init(last)

    def forward(self, x: Tensor, time: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        """x (B, D), time (B,), condition (B, C) to (B, D)."""
        inputs = [x] if condition is None else [x, condition]
        if self.time is not None and time is not None:
            inputs.append(self.time(time))
        return self.net(torch.cat(inputs, dim=1))


@networks.register("mlp")
class MLPConfig(NetworkConfig):
    """Multi-layer perceptron."""

    summary: ClassVar[str] = "multi-layer perceptron on flattened samples"

    kind: Literal["mlp"] = "mlp"
    hidden: tuple[Width, ...] = Field(default=(256, 256), description="widths of the hidden layers")

    def build(self, space: Space, condition: Space | None = None, *, time: bool = False) -> MLPBackbone:
        layout = Layout(space, condition)
        return MLPBackbone(layout.features, layout.context_features, self.hidden, time=time)
