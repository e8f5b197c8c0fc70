"""How far two computations of the same samples differ, such as an exported file and the sampler in Python."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.spaces import Tree, named

LARGEST_DIFFERENCE = 1e-5
"""Largest relative difference of a value that is allowed."""


@dataclass(frozen=True)
class Difference:
    """One way in which samples differ.

    Attributes:
        value: how much; never NaN.
        allowed: largest value at which the computations count as the same.
        of: what the value is a fraction of.

    >>> Difference(2e-7, allowed=1e-5, of="the largest value of its sample").holds
    True
    """

    value: float
    allowed: float
    of: str

    @property
    def holds(self) -> bool:
        """Whether the value is allowed."""
        return self.value <= self.allowed


Disagreement = Mapping[str, Difference]
"""Differences by name, such as `largest_difference`."""


def relative_difference(expected: Tree, found: Tree) -> Disagreement:
    """The largest difference of a value, relative to the largest absolute value of its sample.

    Args:
        expected, found: the same samples, computed twice; tensors (B, ...) alone or by name.

    >>> expected, found = torch.tensor([[1.0, -4.0], [0.0, 2.0]]), torch.tensor([[1.0, -4.0], [0.5, 2.0]])
    >>> relative_difference(expected, found)["largest_difference"].value  # 0.5 of 2
    0.25
    """
    x = flat_values(expected)
    error = (flat_values(found) - x).abs().amax(1)
    largest = largest_or_infinite(error / x.abs().amax(1).clamp(min=torch.finfo(error.dtype).tiny))
    return {"largest_difference": Difference(largest, LARGEST_DIFFERENCE, "the largest value of its sample")}


def flat_values(x: Tree) -> Tensor:
    """All values of each sample, (B, D), in double precision.

    >>> flat_values({"a": torch.ones(2, 1, 3), "b": torch.zeros(2, 2, dtype=torch.int64)}).shape
    torch.Size([2, 5])
    """
    flat = torch.cat([part.flatten(1) for part in named(x, "").values()], dim=1)
    return flat.to(torch.promote_types(flat.dtype, torch.float64))


def largest_or_infinite(errors: Tensor) -> float:
    """The largest of some errors; infinity if any is NaN, since that agrees with nothing.

    >>> largest_or_infinite(torch.tensor([0.5, 2.0])), largest_or_infinite(torch.tensor([0.5, torch.nan]))
    (2.0, inf)
    """
    largest = errors.max().item()
    return math.inf if math.isnan(largest) else largest
