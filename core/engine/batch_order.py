"""Which samples go into which batch: a pure function of seed and position, the same for any number of processes."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..noise import KeyedNoise


@dataclass
class BatchOrder:
    """Every sample once per epoch, in an order that depends on seed, name and epoch alone.

    Args:
        size: number of samples.
        batch_size: samples per batch; the last batch of an epoch has what is left.
        seed: the run's seed.
        name: of the source; sources of other names have other orders.
        beside: computes the order of the next epoch in the second half of an epoch, because that of millions of samples
            takes longer than a step; without it each order is computed when it is needed.

    >>> order = BatchOrder(size=5, batch_size=2, seed=0)
    >>> [len(order.batch(draw)) for draw in range(4)], order.batch(0)
    ([2, 2, 1, 2], tensor([4, 3]))
    """

    size: int
    batch_size: int
    seed: int
    name: str = ""
    beside: Executor | None = None
    _permutations: dict[int, Future[Tensor]] = field(default_factory=dict, init=False)

    def batch(self, draw: int) -> Tensor:
        """Return the global indices of batch number `draw` (0, 1, ...), int64 on the CPU."""
        epoch, slot = self._place(draw)
        return self._laid(epoch, slot * self.batch_size, min((slot + 1) * self.batch_size, self.size))

    def first(self, draw: int) -> int:
        """Number of samples in the batches before `draw`."""
        epoch, slot = self._place(draw)
        return epoch * self.size + slot * self.batch_size

    def rows(self, first: int, n: int) -> Tensor:
        """The n indices from position `first` of the endless sequence of epochs, across their borders.

        >>> order = BatchOrder(size=3, batch_size=2, seed=0)
        >>> order.rows(0, 4).tolist() == order.batch(0).tolist() + order.batch(1).tolist() + order.batch(2)[:1].tolist()
        True
        """
        epochs = range(first // self.size, (first + n - 1) // self.size + 1)
        places = [(epoch, epoch * self.size) for epoch in epochs]
        parts = [self._laid(epoch, max(first - start, 0), min(first + n - start, self.size)) for epoch, start in places]
        return torch.cat(parts)

    def _place(self, draw: int) -> tuple[int, int]:
        """Epoch of a batch, and its number there."""
        return divmod(draw, -(-self.size // self.batch_size))

    def _laid(self, epoch: int, start: int, stop: int) -> Tensor:
        """The indices at some positions of an epoch."""
        for each in (epoch, epoch + 1) if self.beside and 2 * stop > self.size else (epoch,):
            if each not in self._permutations:
                self._permutations = {k: v for k, v in self._permutations.items() if abs(k - epoch) <= 1}
                self._permutations[each] = self._begin(each)
        return self._permutations[epoch].result()[start:stop]

    def _begin(self, epoch: int) -> Future[Tensor]:
        if self.beside is not None:
            return self.beside.submit(self._permutation, epoch)
        done: Future[Tensor] = Future()
        done.set_result(self._permutation(epoch))
        return done

    def _permutation(self, epoch: int) -> Tensor:
        stream = f"order/{self.name}" if self.name else "order"
        keys = KeyedNoise(self.seed, torch.arange(self.size), stream, epoch, torch.float64).uniform("key")
        return torch.argsort(keys, stable=True)


@dataclass(frozen=True)
class Piece:
    """A micro-batch of one process.

    Attributes:
        place: positions of its samples in the global batch, int64 (B,).
        counts: how many of them count, the first ones; the others only fill the shape.
    """

    place: Tensor
    counts: int


def split_batch(
    n: int, rank: int, size: int, micro_batch: int | None, *, group: int = 1, full: int | None = None
) -> list[Piece]:
    """Cut a global batch into the micro-batches of one process.

    Every process gets the same number of micro-batches, because each forward may be a collective operation. A process
    without samples left repeats the first group of the batch, which then does not count.

    Args:
        n: samples of the batch, a multiple of `group`.
        rank: of this process.
        size: number of processes.
        micro_batch: largest number of samples in a micro-batch, or None for all that the process has.
        group: samples that stay together.
        full: samples of a full batch, to whose shapes the micro-batches are filled up with samples that do not count;
            None leaves them as long as they are.

    >>> split_batch(3, rank=0, size=2, micro_batch=1)
    [Piece(place=tensor([0]), counts=1), Piece(place=tensor([0]), counts=0)]
    >>> split_batch(3, rank=1, size=2, micro_batch=1)
    [Piece(place=tensor([1]), counts=1), Piece(place=tensor([2]), counts=1)]
    >>> split_batch(6, rank=1, size=2, micro_batch=None, group=2)
    [Piece(place=tensor([2, 3, 4, 5]), counts=4)]
    >>> split_batch(2, rank=0, size=1, micro_batch=None, full=4)
    [Piece(place=tensor([0, 1, 0, 0]), counts=2)]
    """
    groups = n // group
    mine = torch.arange(group * (groups * rank // size), group * (groups * (rank + 1) // size))
    largest = group * -(-groups // size)
    length = largest if micro_batch is None else micro_batch // group * group
    pieces = [Piece(piece, len(piece)) for piece in mine.split(length) if len(piece)]
    pieces += [Piece(torch.arange(group), 0)] * (-(-largest // length) - len(pieces))
    if full is None:
        return pieces
    share = group * -(-(full // group) // size)
    shape = share if micro_batch is None else min(length, share)
    return [Piece(_filled(piece.place, shape), piece.counts) for piece in pieces]


def _filled(place: Tensor, length: int) -> Tensor:
    """Places, followed by zeros up to a length."""
    return torch.cat((place, place.new_zeros(length - len(place))))
