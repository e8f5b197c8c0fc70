"""The network around the latent variables of hierarchical autoencoders: a bottom-up and a top-down path.

The bottom-up path computes ever coarser features of the sample. The top-down path starts from learned features at the
coarsest level and returns to the grid of the sample. A model adds layers of its own at each level of the top-down path:

    features = hourglass.start(batch_size)
    for level, up in zip(levels, hourglass.up):
        features = up(level(features))
    parameters = hourglass.output(features)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..spaces import Space
from .conv import Convolution, DownsamplingPath, as_field, from_channels, normalized, pyramid, to_channels, upsampling


class Hourglass(nn.Module):
    """Both paths. Lists run from the coarsest level to the finest, except `strides`, which run the other way.

    Args:
        space: of the samples.
        strides: how much coarser each level is than the one before it; the first is relative to the sample.
        where: config key that the error names if a stride does not divide the grid.
        embed_dim: K, values per feature of a sample that the bottom-up path takes.
        parameters: P, values per feature of a sample that the top-down path returns.
        channels: of all features.
        depth: residual blocks at each level of the bottom-up path.
        context_features: C, features of the context.

    Attributes:
        field: samples as a field.
        fields: the same on the grid of each level.
        up: layers from each level to the next finer one, the last to the sample's grid.

    >>> from maquette.core.spaces import Field
    >>> net = Hourglass(Field(channels=1, grid=(8, 8)), (2, 2), where="strides", embed_dim=1, parameters=2,
    ...                 channels=4, depth=1, context_features=0)
    >>> [tuple(features.shape) for features in net.bottom_up(torch.zeros(3, 64, 1), None)]
    [(3, 4, 2, 2), (3, 4, 4, 4)]
    >>> features = net.start(3)
    >>> for up in net.up:
    ...     features = up(features)
    >>> net.output(features).shape
    torch.Size([3, 64, 2])
    """

    no_weight_decay: ClassVar[tuple[str, ...]] = ("top",)

    def __init__(
        self,
        space: Space,
        strides: Sequence[int],
        *,
        where: str,
        embed_dim: int,
        parameters: int,
        channels: int,
        depth: int,
        context_features: int,
    ) -> None:
        super().__init__()
        self.field = as_field(space)
        fields = pyramid(self.field, strides, where=where)
        self.fields = fields[:0:-1]
        self.down = DownsamplingPath(
            fields,
            strides,
            in_channels=self.field.channels * embed_dim,
            channels=channels,
            depth=depth,
            context_features=context_features,
        )
        self.top = nn.Parameter(0.1 * torch.randn(channels, *fields[-1].grid))
        pairs = list(zip(fields, strides, strict=False))[::-1]
        self.up = nn.ModuleList(upsampling(field, channels, channels, stride) for field, stride in pairs)
        self.last = Convolution(self.field, channels, self.field.channels * parameters)

    def extra_repr(self) -> str:
        return f"grids={[field.grid for field in self.fields]}"

    def bottom_up(self, inputs: Tensor, context: Tensor | None) -> list[Tensor]:
        """Samples (B, D, K) and context (B, C) to their features at each level, (B, channels, *grid)."""
        return self.down(to_channels(self.field, inputs), context)[::-1]

    def start(self, batch_size: int) -> Tensor:
        """Learned features at the coarsest level, the same for every sample, (batch_size, channels, *grid)."""
        return self.top.expand(batch_size, *self.top.shape)

    def output(self, features: Tensor) -> Tensor:
        """Features (B, channels, *grid) at the samples' own grid to parameters (B, D, P)."""
        return from_channels(self.field, self.last(F.silu(normalized(features))))
