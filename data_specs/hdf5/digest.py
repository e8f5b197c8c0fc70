"""The digest of samples: that of their values, whatever file they are in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def content_digest(blocks: Iterable[Mapping[str, NDArray[Any]]]) -> str:
    """SHA-256 of the values of arrays by name, given in blocks of rows; independent of blocks, compression and file.

    >>> x, theta = np.arange(12.0).reshape(4, 3), np.ones((4, 1), np.complex64)
    >>> halves = [{"x": x[rows], "theta": theta[rows]} for rows in (slice(0, 2), slice(2, 4))]
    >>> content_digest(halves) == content_digest([{"theta": theta, "x": x}])
    True
    """
    hashes: dict[str, Any] = {}
    rows, shapes = 0, {}
    for block in blocks:
        rows += len(next(iter(block.values())))
        for name, values in block.items():
            little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
            hashes.setdefault(name, hashlib.sha256()).update(little.data)
            shapes[name] = (little.dtype.str, values.shape[1:])
    text = ";".join(f"{name} {shapes[name]} {state.hexdigest()}" for name, state in sorted(hashes.items()))
    return hashlib.sha256(f"{rows};{text}".encode()).hexdigest()
