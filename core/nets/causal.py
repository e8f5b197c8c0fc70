"""Causal networks on grids: each place sees itself and those before it, all at once or one place at a time.

van den Oord et al., "WaveNet", arXiv:1609.03499, and "Conditional image generation with PixelCNN decoders",
arXiv:1606.05328. The same modules train and sample: given a `Memory` they take one place after the other and find there
what they saw before (Le Paine et al., "Fast WaveNet generation algorithm", arXiv:1611.09482).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass
class Ring:
    """The last places that one module saw, the oldest overwritten by the newest."""

    slots: list[Tensor]
    place: int = 0


class Memory:
    """What the causal modules of a network saw of one batch of samples that is being drawn."""

    def __init__(self) -> None:
        self._rings: dict[nn.Module, Ring] = {}

    def window(self, owner: nn.Module, x: Tensor, axis: int, taps: int, dilation: int) -> Tensor:
        """x of the place in hand behind the `taps - 1` before it, `dilation` apart, joined along the axis."""
        span = (taps - 1) * dilation
        if span == 0:
            return x
        ring = self._rings.setdefault(owner, Ring(span * [torch.zeros_like(x)]))
        before = [ring.slots[(ring.place + k * dilation) % span] for k in range(taps - 1)]
        ring.slots[ring.place % span] = x
        ring.place += 1
        return torch.cat((*before, x), dim=axis)


class CausalLinear(nn.Module):
    """Dilated causal convolution of a line, (B, T, I) to (B, T, O), as one product with the places it sees.

    Args:
        inputs: I.
        outputs: O.
        taps: places seen, with one's own.
        dilation: distance of the places seen.
    """

    def __init__(self, inputs: int, outputs: int, taps: int, dilation: int = 1) -> None:
        super().__init__()
        self.taps, self.dilation = taps, dilation
        self.inner = nn.Linear(taps * inputs, outputs)

    def forward(self, x: Tensor, memory: Memory | None = None) -> Tensor:
        """All places at once; with a memory the next one alone, T = 1."""
        if memory is not None:
            return self.inner(memory.window(self, x, 2, self.taps, self.dilation))
        before = [shift(x, 1, k * self.dilation) for k in range(self.taps - 1, 0, -1)]
        return self.inner(torch.cat((*before, x), dim=2))


class CausalConv(nn.Module):
    """Convolution (B, I, R, C) to (B, O, R, C) of which a row (or column) sees itself and `taps - 1` before it.

    Args:
        inputs: I.
        outputs: O.
        taps: places seen along the axis, with one's own.
        axis: 2 for rows, 3 for columns.
        across: places seen along the other axis, centred on one's own; odd.
        dilation: distance of the places seen.
        periodic: whether the other axis wraps.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        taps: int,
        *,
        axis: int,
        across: int = 1,
        dilation: int = 1,
        periodic: bool = False,
    ) -> None:
        super().__init__()
        self.taps, self.axis, self.dilation, self.periodic = taps, axis, dilation, periodic
        self.sides = across // 2 * dilation
        size = (taps, across) if axis == 2 else (across, taps)
        self.inner = nn.Conv2d(inputs, outputs, size, dilation=dilation)

    def forward(self, x: Tensor, memory: Memory | None = None) -> Tensor:
        """All places at once; with a memory the next one alone, x of length one along the axis."""
        x = self._widened(x)
        if memory is None:
            front = (self.taps - 1) * self.dilation
            return self.inner(F.pad(x, (0, 0, front, 0) if self.axis == 2 else (front, 0)))
        x = memory.window(self, x, self.axis, self.taps, self.dilation)
        dilation = (1, self.dilation) if self.axis == 2 else (self.dilation, 1)
        return F.conv2d(x, self.inner.weight, self.inner.bias, dilation=dilation)

    def _widened(self, x: Tensor) -> Tensor:
        if self.sides == 0:
            return x
        other, sides = 5 - self.axis, self.sides
        if self.periodic:
            count = x.shape[other]
            return x.index_select(other, torch.arange(-sides, count + sides, device=x.device) % count)
        return F.pad(x, (sides, sides) if other == 3 else (0, 0, sides, sides))


def shift(x: Tensor, axis: int, places: int = 1) -> Tensor:
    """Everything some places on along an axis, zeros in front: what turns "up to" into "before"."""
    count = x.shape[axis]
    places = min(places, count)
    front = torch.zeros_like(x.narrow(axis, 0, places))
    return torch.cat((front, x.narrow(axis, 0, count - places)), dim=axis)


def gate(x: Tensor, axis: int = 1) -> Tensor:
    """tanh(a) sigmoid(b) for features x = (a, b) along an axis."""
    a, b = x.chunk(2, dim=axis)
    return a.tanh() * b.sigmoid()
