"""Compares what an exported file computes with the Python sampler, on the same noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...domains.generator import Codec
from ..console.numbers import number
from .formats import Compute
from .trace import Example

LARGEST_DIFFERENCE = 1e-5
"""Largest difference allowed, in units of the codec's scale (the incident energy of a shower)."""
LARGEST_FLIPPED = 1e-5
"""Largest fraction of values that may be zero on one side only: rounding decides near a threshold."""


@dataclass(frozen=True)
class Agreement:
    """How a file's samples compare with the Python sampler's.

    Attributes:
        samples: how many were compared.
        difference: largest difference of a value, over the scale of its sample, in groups without a flip.
        sums: largest difference of a group's sum, over the scale of its sample, with or without flips.
        flipped: fraction of values that are zero on one side only.

    >>> print(Agreement(samples=1000, difference=2e-7, sums=1e-7, flipped=0.0))
    verified on 1,000 samples: largest difference from the Python sampler 2.00e-07 of the scale (allowed 1e-05), \
0 of the values across a threshold (allowed 1e-05)
    """

    samples: int
    difference: float
    sums: float
    flipped: float

    @property
    def largest(self) -> float:
        """Largest difference of a value or of a sum."""
        return max(self.difference, self.sums)

    @property
    def holds(self) -> bool:
        """Whether the file may be used."""
        return self.largest <= LARGEST_DIFFERENCE and self.flipped <= LARGEST_FLIPPED

    def __str__(self) -> str:
        return (
            f"verified on {self.samples:,} samples: largest difference from the Python sampler "
            f"{number(self.largest)} of the scale (allowed {LARGEST_DIFFERENCE:g}), {number(self.flipped)} of the "
            f"values across a threshold (allowed {LARGEST_FLIPPED:g})"
        )


def compare(codec: Codec, compute: Compute, expected: Example) -> Agreement:
    """Compare a file with an example: its whole batch, and its first sample by itself.

    >>> from maquette.core.config import parse
    >>> from maquette.domains import domains
    >>> from maquette.pipelines.exporting.trace import Sampling, draw_example, signature_of
    >>> plugin = domains.get("calorimeter")
    >>> data = plugin.open(plugin.sample_path(), {}).rows(0, 50)
    >>> config = parse(plugin.generator, {"family": {"kind": "linear"}}, where="example")
    >>> generator = config.build(data.description, data)
    >>> expected = draw_example(generator, 4, seed=1)
    >>> sampling = Sampling(generator, signature_of(generator, expected))  # in place of a file
    >>> found = compare(generator.codec, lambda inputs: sampling(*inputs), expected)
    >>> found.samples, found.holds
    (4, True)
    """
    x = _flatten(expected.outputs)
    scale, groups = codec.error_scale(expected.x, expected.condition)[:, None], codec.sum_groups(x.shape[1])
    batch = agreement(x, _flatten(compute(expected.inputs)), scale, groups)
    single = agreement(x[:1], _flatten(compute([tensor[:1] for tensor in expected.inputs])), scale[:1], groups)
    return Agreement(
        batch.samples,
        max(batch.difference, single.difference),
        max(batch.sums, single.sums),
        batch.flipped + single.flipped / batch.samples,
    )


def _flatten(tensors: Sequence[Tensor]) -> Tensor:
    """All values of each sample, (B, D)."""
    return torch.cat([tensor.flatten(1) for tensor in tensors], dim=1)


def agreement(expected: Tensor, found: Tensor, scale: Tensor, groups: Tensor) -> Agreement:
    """Compare flat samples.

    A flip moves what it gains or loses to the other values of its group, so these are compared by their sum. Where
    rounding decides whether a whole group is empty, nothing of that sample can be compared; the fraction of flips
    bounds how often.

    Args:
        expected: the Python sampler's values, (B, D).
        found: the file's values, (B, D).
        scale: of each sample, (B, 1).
        groups: index of each value's group, (D,).

    >>> expected, found = torch.tensor([[1.0, 0.0, 2.0]]), torch.tensor([[0.0, 1.0, 2.0]])
    >>> same = agreement(expected, found, scale=torch.ones(1, 1), groups=torch.tensor([0, 0, 1]))
    >>> same.difference, same.sums, round(same.flipped, 2)  # a hit moved to the next value of its group
    (0.0, 0.0, 0.67)
    """
    empty = torch.zeros(len(expected), int(groups.max()) + 1, dtype=torch.float64)

    def total(values: Tensor) -> Tensor:
        return empty.index_add(1, groups, values.double())

    flipped = (expected == 0) != (found == 0)
    switched = ((total(expected) == 0) != (total(found) == 0)).any(dim=1, keepdim=True)
    error = found.double() - expected.double()
    sums = total(error).abs().masked_fill(switched, 0.0) / scale
    comparable = (total(flipped) == 0).index_select(1, groups) & ~switched
    values = error.abs().masked_fill(~comparable, 0.0) / scale
    largest = (values.max().item(), sums.max().item()) if found.isfinite().all() else (math.inf, math.inf)
    return Agreement(len(expected), *largest, flipped.float().mean().item())
