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

from .embeddings import zero


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
        """The `taps` places that end with x, `dilation` apart: x of length one along the axis, the result of `taps`."""
        span = (taps - 1) * dilation
        if span == 0:
            return x
        ring = self._rings.setdefault(owner, Ring(span * [torch.zeros_like(x)]))
        before = [ring.slots[(ring.place + k * dilation) % span] for k in range(taps - 1)]
        ring.slots[ring.place % span] = x
        ring.place += 1
        return torch.cat((*before, x), dim=axis)


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


def shift(x: Tensor, axis: int) -> Tensor:
    """Everything one place on along an axis, zeros at the first: what turns "up to" into "before"."""
    front = torch.zeros_like(x.narrow(axis, 0, 1))
    return torch.cat((front, x.narrow(axis, 0, x.shape[axis] - 1)), dim=axis)


def gate(x: Tensor) -> Tensor:
    """tanh(a) sigmoid(b) for features x = (a, b), (B, 2 F, ...) to (B, F, ...)."""
    a, b = x.chunk(2, dim=1)
    return a.tanh() * b.sigmoid()


class StrictlyLower(nn.Module):
    """Linear in all inputs before one's own, and in the condition: (B, D, K) to (B, D, P)."""

    pairs: Tensor

    def __init__(self, numbers: int, inputs: int, context: int, outputs: int) -> None:
        super().__init__()
        pairs = torch.tril_indices(numbers, numbers, -1)  # (number, one before it)
        self.register_buffer("pairs", pairs, persistent=False)
        self.weight = nn.Parameter(torch.zeros(pairs.shape[1], outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(numbers, outputs))
        self.condition = nn.Linear(context, numbers * outputs, bias=False) if context else None

    def forward(self, inputs: Tensor, columns: Tensor | None) -> Tensor:
        numbers = len(self.bias)
        weight = self.weight.new_zeros(numbers, numbers, *self.weight.shape[1:]).index_put(
            tuple(self.pairs), self.weight
        )
        out = torch.einsum("bjk,ijpk->bip", inputs, weight) + self.bias
        if self.condition is not None:
            out = out + self.condition(columns).unflatten(1, self.bias.shape)
        return out


class Channels(nn.Module):
    """Parameters of the numbers of one place in turn: each from the place's features and the numbers before it there.

    Args:
        numbers: C, of a place.
        inputs: K, in how many columns a number is seen.
        features: F, of a place, that say what earlier places mean for it.
        outputs: P, parameters of a number's law.
    """

    def __init__(self, numbers: int, inputs: int, features: int, outputs: int) -> None:
        super().__init__()
        self.mix = StrictlyLower(numbers, inputs, features, features)
        self.leave = zero(nn.Linear(features, outputs))

    def forward(self, inputs: Tensor, features: Tensor) -> Tensor:
        """Inputs (N, C, K) and features (N, F) of N places to parameters (N, C, P)."""
        return self.leave(F.silu(self.mix(inputs, F.silu(features))))
