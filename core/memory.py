"""How many samples are computed or read at once: as many as fit into a number of bytes.

>>> cpu = torch.device("cpu")
>>> samples_at_once(cpu, each=300 * 4 * 368)  # showers of 368 voxels, in a network that holds 300 numbers a voxel
1000
>>> samples_at_once(cpu, each=300 * 4 * 64**3)  # fields of 64^3 cells, in one that holds 300 numbers a cell
2
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .data import Batch, Source

WORKING_BYTES = {"cpu": 2**30, "cuda": 2**33}
"""Bytes that the samples of a batch may take while they are drawn, or their loss is computed without gradients."""
MOST_AT_ONCE = {"cpu": 1000, "cuda": 10_000}
"""Larger batches are not faster, however small a sample is."""
BLOCK_BYTES, MOST_IN_BLOCK = 2**25, 4096
"""Bytes of data, and samples, that are read at once; a codec that is fitted to them takes some times those bytes."""

_KERNELS = 2
"""What is alive takes this times its bytes: kernels have copies of their own (a convolution reorders its input), and
allocators do not give all memory back at once."""


def samples_within(budget: int, each: int, *, most: int) -> int:
    """The largest power of two of samples that take at most `budget` bytes; at least one, and never beyond `most`.

    A power of two does not change with a few bytes more or less.

    >>> [samples_within(1000, each, most=10) for each in (0, 50, 200, 2000)]
    [10, 10, 4, 1]
    """
    fit = budget // max(each, 1)
    return most if fit >= most else 1 << max(0, fit.bit_length() - 1)


def samples_at_once(device: torch.device, each: int) -> int:
    """How many samples are drawn, or evaluated without gradients, at once, if each takes so many bytes meanwhile."""
    kind = "cuda" if device.type == "cuda" else "cpu"
    return samples_within(WORKING_BYTES[kind], each, most=MOST_AT_ONCE[kind])


def bytes_of(batch: Batch) -> int:
    """Bytes of one sample of a batch: itself, its condition, and what comes of other sources.

    >>> bytes_of(Batch(torch.zeros(5, 10), {"angle": torch.zeros(5, 2)}, torch.arange(5)))
    48
    """
    sizes: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel() * tensor.element_size())
        return tensor

    batch.map(note)
    return sum(sizes) // max(1, len(batch))


def blocks(source: Source, rows: int | None = None) -> Iterator[Batch]:
    """The first `rows` of a source (by default all) in order, `BLOCK_BYTES` and `MOST_IN_BLOCK` at a time.

    >>> from maquette.core.data import TensorSource
    >>> [len(block) for block in blocks(TensorSource(torch.zeros(10_000, 2)))]
    [4096, 4096, 1808]
    >>> [len(block) for block in blocks(TensorSource(torch.zeros(5, 2**22)))]  # of 16 MiB each
    [2, 2, 1]
    """
    n = len(source) if rows is None else rows
    if not n:
        return
    each = bytes_of(source.fetch(torch.zeros(1, dtype=torch.int64)))
    for index in torch.arange(n).split(samples_within(BLOCK_BYTES, each, most=MOST_IN_BLOCK)):
        yield source.fetch(index)


def bytes_per_sample(compute: Callable[[int], object]) -> int:
    """Memory that each further sample of a batch takes while it is computed.

    Args:
        compute: called with one sample and with two; the difference of the two peaks is what a sample takes, since
            weights in another precision and tables are there once.

    >>> layer = torch.nn.Linear(10, 1000)
    >>> with torch.no_grad():
    ...     bytes_per_sample(lambda n: layer(torch.zeros(n, 10)).exp())  # two results of 1,000 numbers, times 2
    16000
    """
    one, two = (_peak(compute, n) for n in (1, 2))
    return _KERNELS * max(0, two - one)


def _peak(compute: Callable[[int], object], n: int) -> int:
    with torch.compiler.set_stance("force_eager"), LiveBytes() as live:  # no shape is compiled for this
        compute(n)
    return live.peak


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that came to be while it is active and are still alive.

    Attributes:
        now: bytes alive.
        peak: the most that were alive at once.

    >>> with LiveBytes() as live:
    ...     x = torch.zeros(100)
    ...     y = x[:50] + x[50:]
    ...     del x, y
    >>> live.now, live.peak
    (0, 600)
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = {_key(tensor) for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)}
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and (key := _key(tensor)) not in given | self._known:
                storage = tensor.untyped_storage()
                self._known.add(key)
                self.now += storage.nbytes()
                weakref.finalize(storage, self._freed, key, storage.nbytes())
        self.peak = max(self.peak, self.now)
        return out

    def _freed(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def _key(tensor: Tensor) -> int:
    """The address of a tensor's storage object, which views share."""
    return tensor.untyped_storage()._cdata
