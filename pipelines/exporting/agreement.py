"""Compares what an exported file computes with the Python sampler, on the same noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.data import map_tree
from ...core.spaces import Tree
from ...domains.codec import Codec
from ...domains.disagreement import Disagreement
from ..console.numbers import number
from .formats import Compute
from .trace import Example


@dataclass(frozen=True)
class Agreement:
    """How a file's samples compare with the Python sampler's.

    Attributes:
        samples: how many were compared.
        differences: in which ways they differ, by name.

    >>> from maquette.domains.disagreement import Difference
    >>> off = Difference(2e-7, allowed=1e-5, of="the largest value of its sample")
    >>> print(Agreement(1000, {"largest_difference": off}))
    verified on 1,000 samples against the Python sampler: largest difference 2.00e-07 of the largest value of its \
sample (allowed 1e-05)
    """

    samples: int
    differences: Disagreement

    @property
    def holds(self) -> bool:
        """Whether the file may be used."""
        return all(one.holds for one in self.differences.values())

    @property
    def found(self) -> str:
        """The differences in words."""
        return ", ".join(
            f"{name.replace('_', ' ')} {number(one.value)} of {one.of} (allowed {one.allowed:g})"
            for name, one in self.differences.items()
        )

    def __str__(self) -> str:
        return f"verified on {self.samples:,} samples against the Python sampler: {self.found}"


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
    batch, single = compute(expected.inputs), compute([tensor[:1] for tensor in expected.inputs])
    outputs = [torch.cat(pair) for pair in zip(batch, single, strict=True)]
    found: Tree = dict(zip(expected.x, outputs, strict=True)) if isinstance(expected.x, dict) else outputs[0]
    x, condition = map_tree(_first_row_again, expected.x), map_tree(_first_row_again, expected.condition)
    return Agreement(len(expected.outputs[0]), codec.disagreement(x, found, condition))


def _first_row_again(rows: Tensor) -> Tensor:
    return torch.cat((rows, rows[:1]))
