"""Which samples go into which batch: a pure function of seed and position, the same for any number of processes."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..noise import KeyedNoise


@dataclass
class BatchOrder:
    """Every sample once per epoch, in an order that depends on seed and epoch alone.

    Args:
        size: number of samples.
        batch_size: samples per batch; the last batch of an epoch has what is left.
        seed: the run's seed.

    >>> order = BatchOrder(size=5, batch_size=2, seed=0)
    >>> [len(order.batch(draw)) for draw in range(4)], order.batch(0)
    ([2, 2, 1, 2], tensor([4, 3]))
    """

    size: int
    batch_size: int
    seed: int
    _epoch: int = field(default=-1, init=False)
    _permutation: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64), init=False)

    def batch(self, draw: int) -> Tensor:
        """Return the global indices of batch number `draw` (0, 1, ...), int64 on the CPU."""
        epoch, slot = divmod(draw, -(-self.size // self.batch_size))
        if epoch != self._epoch:
            keys = KeyedNoise(self.seed, torch.arange(self.size), "order", epoch, torch.float64).uniform("key")
            self._epoch, self._permutation = epoch, torch.argsort(keys, stable=True)
        return self._permutation[slot * self.batch_size : (slot + 1) * self.batch_size]


def split_batch(index: Tensor, rank: int, size: int, micro_batch: int | None) -> list[tuple[Tensor, bool]]:
    """Cut a global batch into the micro-batches of one process.

    Every process gets the same number of micro-batches, because each forward may be a collective operation. A process
    without samples left repeats the first sample of the batch, marked as one that does not count.

    Args:
        index: global indices of the batch.
        rank: of this process.
        size: number of processes.
        micro_batch: largest number of samples in a micro-batch, or None for all that the process has.

    Returns:
        Pairs of (indices, whether they count).

    >>> split_batch(torch.tensor([7, 3, 5]), rank=0, size=2, micro_batch=1)
    [(tensor([7]), True), (tensor([7]), False)]
    >>> split_batch(torch.tensor([7, 3, 5]), rank=1, size=2, micro_batch=1)
    [(tensor([3]), True), (tensor([5]), True)]
    """
    n = len(index)
    mine = index[n * rank // size : n * (rank + 1) // size]
    largest = -(-n // size)
    length = micro_batch or largest
    pieces = [(piece, True) for piece in mine.split(length) if len(piece)]
    return pieces + [(index[:1], False)] * (-(-largest // length) - len(pieces))
