"""Rows of the training data that an artefact keeps, for models whose conditions are given and not drawn."""

from __future__ import annotations

import torch

from ..core.data import Source
from ..core.spaces import Tree, named

EXAMPLES = 64
EXAMPLE_BYTES = 32 * 2**20
"""Most rows and bytes of conditions that are kept as examples."""


def example_rows(source: Source) -> Tree | None:
    """Physical conditions of a few rows, evenly spaced: `EXAMPLES`, or as many as `EXAMPLE_BYTES` hold.

    >>> from maquette.core.data import TensorSource
    >>> example_rows(TensorSource(torch.zeros(640, 1), torch.arange(640.0)))[:3]
    tensor([ 0., 10., 20.])
    """
    one = named(source.fetch(torch.zeros(1, dtype=torch.int64)).condition)
    size = sum(part.numel() * part.element_size() for part in one.values())
    count = max(1, min(EXAMPLES, len(source), EXAMPLE_BYTES // max(1, size)))
    return source.fetch(torch.arange(count) * len(source) // count).condition
