"""Causal convolutions: each position sees itself and those before it, all at once or one position at a time.

van den Oord et al., "WaveNet", arXiv:1609.03499, and "Conditional image generation with PixelCNN decoders",
arXiv:1606.05328. The same modules serve training and sampling: with a `ConvCache` they take one position at a time, and
the cache holds the earlier ones (Le Paine et al., "Fast WaveNet generation algorithm", arXiv:1611.09482).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass
class _RingBuffer:
    """The last positions that one module saw; the newest overwrites the oldest."""

    slots: list[Tensor]
    cursor: int = 0


class ConvCache:
    """The earlier inputs of all causal convolutions of a network, while one batch of samples is drawn.

    >>> conv, cache = CausalConv1d(1, 1, kernel_size=2), ConvCache()
    >>> x = torch.ones(1, 3, 1)
    >>> one_by_one = torch.cat([conv(step, cache) for step in x.split(1, dim=1)], dim=1)
    >>> torch.allclose(one_by_one, conv(x))
    True
    """

    def __init__(self) -> None:
        self._buffers: dict[nn.Module, _RingBuffer] = {}

    def window(self, module: nn.Module, x: Tensor, dim: int, kernel_size: int, dilation: int) -> Tensor:
        """What a kernel sees: `kernel_size - 1` earlier positions, `dilation` apart, then x, joined along `dim`."""
        span = (kernel_size - 1) * dilation
        if span == 0:
            return x
        buffer = self._buffers.setdefault(module, _RingBuffer(span * [torch.zeros_like(x)]))
        before = [buffer.slots[(buffer.cursor + k * dilation) % span] for k in range(kernel_size - 1)]
        buffer.slots[buffer.cursor % span] = x
        buffer.cursor += 1
        return torch.cat((*before, x), dim=dim)


class CausalConv1d(nn.Module):
    """Dilated causal convolution, channels last: (B, T, I) to (B, T, O), as one matrix product.

    Args:
        in_channels: I.
        out_channels: O.
        kernel_size: positions seen, one's own included.
        dilation: distance of the positions seen.

    >>> CausalConv1d(2, 3, kernel_size=2, dilation=4)(torch.zeros(5, 10, 2)).shape
    torch.Size([5, 10, 3])
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, dilation: int = 1) -> None:
        super().__init__()
        self.kernel_size, self.dilation = kernel_size, dilation
        self.linear = nn.Linear(kernel_size * in_channels, out_channels)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}"

    def forward(self, x: Tensor, cache: ConvCache | None = None) -> Tensor:
        """All positions at once; with a cache the next one only, T = 1."""
        if cache is not None:
            return self.linear(cache.window(self, x, 2, self.kernel_size, self.dilation))
        before = [shift(x, 1, k * self.dilation) for k in range(self.kernel_size - 1, 0, -1)]
        return self.linear(torch.cat((*before, x), dim=2))


class CausalConv2d(nn.Module):
    """Convolution (B, I, H, W) to (B, O, H, W), causal along one axis: a row (or column) sees itself and those before.

    Args:
        in_channels: I.
        out_channels: O.
        kernel_size: positions seen along the causal axis, one's own included.
        dim: the causal axis, 2 for rows, 3 for columns.
        cross_size: positions seen along the other axis, centred on one's own; odd.
        dilation: distance of the positions seen.
        periodic: whether the other axis wraps.

    >>> CausalConv2d(2, 3, kernel_size=2, dim=2, cross_size=3)(torch.zeros(5, 2, 4, 6)).shape
    torch.Size([5, 3, 4, 6])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        dim: int,
        cross_size: int = 1,
        dilation: int = 1,
        periodic: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size, self.dim, self.dilation, self.periodic = kernel_size, dim, dilation, periodic
        self.sides = cross_size // 2 * dilation
        size = (kernel_size, cross_size) if dim == 2 else (cross_size, kernel_size)
        self.conv = nn.Conv2d(in_channels, out_channels, size, dilation=dilation)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, periodic={self.periodic}"

    def forward(self, x: Tensor, cache: ConvCache | None = None) -> Tensor:
        """All positions at once; with a cache the next one only, x of length one along the causal axis."""
        x = self._padded(x)
        if cache is None:
            front = (self.kernel_size - 1) * self.dilation
            return self.conv(F.pad(x, (0, 0, front, 0) if self.dim == 2 else (front, 0)))
        x = cache.window(self, x, self.dim, self.kernel_size, self.dilation)
        dilation = (1, self.dilation) if self.dim == 2 else (self.dilation, 1)
        return F.conv2d(x, self.conv.weight, self.conv.bias, dilation=dilation)

    def _padded(self, x: Tensor) -> Tensor:
        """x padded along the other axis."""
        if self.sides == 0:
            return x
        other, sides = 5 - self.dim, self.sides
        if self.periodic:
            count = x.shape[other]
            return x.index_select(other, torch.arange(-sides, count + sides, device=x.device) % count)
        return F.pad(x, (sides, sides) if other == 3 else (0, 0, sides, sides))


def shift(x: Tensor, dim: int, steps: int = 1) -> Tensor:
    """x moved some steps along an axis, with zeros in front: each position gets what was `steps` before it.

    >>> shift(torch.tensor([1, 2, 3]), dim=0)
    tensor([0, 1, 2])
    """
    count = x.shape[dim]
    steps = min(steps, count)
    front = torch.zeros_like(x.narrow(dim, 0, steps))
    return torch.cat((front, x.narrow(dim, 0, count - steps)), dim=dim)


def gate(x: Tensor, dim: int = 1) -> Tensor:
    """tanh(a) * sigmoid(b) for the two halves of x = (a, b) along an axis (arXiv:1606.05328, eq. 2).

    >>> gate(torch.tensor([[100.0, 0.0]]))
    tensor([[0.5000]])
    """
    a, b = x.chunk(2, dim=dim)
    return a.tanh() * b.sigmoid()
