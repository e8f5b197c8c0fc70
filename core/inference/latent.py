"""Walks through the codes of a model: between two samples, along one number, over a plane."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from ..capabilities import Encodes
from ..samplers.interpolation import Interpolation, slerp
from ..spaces import Tree


class Codes(Protocol):
    """What walks need of the law of codes; a model whose codes are not standard normal has it as `base`."""

    def interpolate(self, a: Tensor, b: Tensor, times: Tensor) -> Tensor:
        """A path."""
        ...

    def icdf(self, probabilities: Tensor) -> Tensor:
        """Quantiles of one feature of a code."""
        ...


class NormalCodes:
    """Independent standard normals."""

    interpolate, icdf = staticmethod(slerp), staticmethod(torch.special.ndtri)


def _codes(model: Any) -> Codes:
    return getattr(model, "base", NormalCodes())


def interpolate(
    model: Encodes,
    first: Tree,
    second: Tree,
    condition: Tree | None = None,
    *,
    steps: int = 9,
    path: Interpolation | None = None,
) -> list[Tree]:
    """Samples from `first` to `second` by way of their codes.

    Args:
        model: its codes are rows (B, L) of real numbers.
        first, second: samples, leading axis B.
        condition: one row per pair, for both ends and all between.
        steps: number of stops, the two ends among them.
        path: how codes are joined; if not given, as their law has it: normal ones along the great circle, uniform ones
            straight, angles by the shorter way round.

    Returns:
        The samples at each stop; at the ends what the model makes of the two given.
    """
    a, b = model.encode(first, condition), model.encode(second, condition)
    times = torch.linspace(0, 1, steps, dtype=a.dtype, device=a.device)
    return [model.decode(z, condition) for z in (path or _codes(model).interpolate)(a, b, times)]


def traverse(model: Encodes, z: Tensor, number: int, values: Tensor, condition: Tree | None = None) -> list[Tree]:
    """Samples along one number of a code: for each of `values` (T,), codes z (B, L) with that number replaced."""
    found = []
    for value in values:
        moved = z.clone()
        moved[:, number] = value
        found.append(model.decode(moved, condition))
    return found


def plane(model: Encodes, z: Tensor, numbers: tuple[int, int], side: int) -> Tensor:
    """Codes over a plane at equal steps of probability under their law, (side, side, L).

    As in Kingma & Welling, arXiv:1312.6114, figure 4: decode them for a picture of what the model has learnt.

    Args:
        model: whose codes they are.
        z: a code (L,), which the others are like but for two numbers.
        numbers: which two, the first along the first axis.
        side: steps along each.
    """
    shares = (torch.arange(side, dtype=z.dtype, device=z.device) + 0.5) / side
    quantiles = _codes(model).icdf(shares)
    codes = z.expand(side, side, -1).clone()
    codes[..., numbers[0]], codes[..., numbers[1]] = quantiles[:, None], quantiles
    return codes
