"""Up from a sample to ever coarser features, and down again from learned ones: the frame of hierarchical autoencoders.

On the way down something happens on every level, the coarsest first, which is the affair of the network in hand:

    features = hourglass.begin(n)
    for level, finer in zip(levels, hourglass.finer):
        features = finer(level(features))
    parameters = hourglass.end(features)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..spaces import Space
from .conv import Analysis, Convolution, as_field, finer, normalized, pyramid, to_channels, to_numbers


class Hourglass(nn.Module):
    """The two ways; lists run from the coarsest level to the finest, but for `strides`.

    Args:
        space: of the samples.
        strides: how much coarser each level is than the one before, the first than the sample.
        where: key of the strides, to be named if they do not divide the grid.
        embed_dim: K, in how many numbers the way up sees a number of a sample.
        parameters: P, how many the way down gives for a number.
        channels: of all features.
        depth: residual blocks at each level on the way up.
        context_features: C, features of the context.

    Attributes:
        field: samples as a field.
        fields: the same at each level.
        finer: layers from each level to the next.
    """

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
        self.analysis = Analysis(
            fields,
            strides,
            inputs=self.field.channels * embed_dim,
            channels=channels,
            depth=depth,
            context_features=context_features,
        )
        self.start = nn.Parameter(0.1 * torch.randn(channels, *fields[-1].grid))
        pairs = list(zip(fields, strides, strict=False))[::-1]
        self.finer = nn.ModuleList(finer(field, channels, channels, stride) for field, stride in pairs)
        self.leave = Convolution(self.field, channels, self.field.channels * parameters)

    def up(self, inputs: Tensor, context: Tensor | None) -> list[Tensor]:
        """Samples (B, D, K) and context (B, C) to their features at each level, (B, channels, *grid)."""
        return self.analysis(to_channels(self.field, inputs), context)[::-1]

    def begin(self, batch: int) -> Tensor:
        """Features of nothing in particular at the coarsest level, (batch, channels, *grid)."""
        return self.start.expand(batch, *self.start.shape)

    def end(self, features: Tensor) -> Tensor:
        """Features (B, channels, *grid) at the samples' own grid to parameters (B, D, P)."""
        return to_numbers(self.field, self.leave(F.silu(normalized(features))))
