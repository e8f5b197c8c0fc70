"""What the turns of a stage compute on: micro-batches on the device, read one ahead in a thread.

Which samples come next is a function of seed and position, so reading ahead changes nothing but the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

import torch

from ..data import Batch
from .ahead import Ahead
from .batch_order import Piece
from .draws import Draw, Draws


@dataclass(frozen=True)
class Turn:
    """The share of this process in one global batch.

    Attributes:
        samples: of the global batch, over all processes.
        pieces: micro-batches of this process.
        read: the samples of a micro-batch by its number, on the device.

    >>> from maquette.core.data import TensorSource
    >>> from maquette.core.engine.batch_order import split_batch
    >>> source, pieces = TensorSource(torch.arange(10.0)), split_batch(10, rank=0, size=2, micro_batch=3)
    >>> turn = Turn(10, pieces, lambda number: source.fetch(pieces[number].place))
    >>> len(turn.pieces), turn.read(1).x
    (2, tensor([3., 4.]))
    """

    samples: int
    pieces: Sequence[Piece]
    read: Callable[[int], Batch]


@runtime_checkable
class Reader(Protocol):
    """What a turn does with a global batch before it computes: `PlayerTrainer` is one."""

    def split(self, samples: int) -> Sequence[Piece]:
        """The micro-batches of this process."""
        ...

    def move(self, batch: Batch) -> Batch:
        """The batch on the device."""
        ...


@dataclass(frozen=True)
class _Read:
    samples: int
    pieces: Sequence[Piece]
    batch: Batch


_Place = tuple[int, int, int]
"""Step, turn and number of the micro-batch."""


class Feed:
    """The turns of a stage in order; a context manager, which ends the thread.

    Args:
        draws: global batches.
        readers: one for each turn of a step.
        steps: of the stage; nothing is read beyond them.
        device: of the micro-batches.

    >>> from maquette.core.data import TensorSource
    >>> from maquette.core.engine.batch_order import split_batch
    >>> from maquette.core.engine.plan import TrainingConfig
    >>> from maquette.core.families.flows.linear import LinearConfig
    >>> from maquette.core.spaces import Vector
    >>> class Halves:
    ...     def split(self, samples):
    ...         return split_batch(samples, rank=0, size=1, micro_batch=2)
    ...     def move(self, batch):
    ...         return batch
    >>> (stage,) = TrainingConfig(batch_size=4).plan(LinearConfig().build(Vector(dim=2)).stages()).stages
    >>> draws = Draws({"": TensorSource(torch.zeros(10, 2))}, stage, stage.players, seed=0)
    >>> isinstance(Halves(), Reader)
    True
    >>> with Feed(draws, [Halves()], steps=3) as feed:
    ...     turn = feed.turn(step=2, turn=0)
    ...     turn.samples, len(turn.read(0))
    (2, 2)
    """

    def __init__(self, draws: Draws, readers: Sequence[Reader], steps: int, device: torch.device | str = "cpu") -> None:
        self.draws, self.readers, self.steps = draws, readers, steps
        self._drawn: tuple[tuple[int, int], Draw, Sequence[Piece]] | None = None
        self._ahead: Ahead[_Place, _Read] = Ahead(self._read, device)

    def turn(self, step: int, turn: int) -> Turn:
        """The share of this process in the batch of a turn of a step, both from 0; raises what reading it raises."""
        first = self._ahead.get((step, turn, 0))
        held = {0: first.batch}

        def read(number: int) -> Batch:
            return held.pop(number) if number in held else self._ahead.get((step, turn, number)).batch

        return Turn(first.samples, first.pieces, read)

    def settle(self) -> None:
        """Wait until nothing is being read."""
        self._ahead.settle()

    def _read(self, place: _Place) -> tuple[_Read, _Place | None]:
        """Called in the thread alone."""
        step, turn, number = place
        if self._drawn is None or self._drawn[0] != (step, turn):
            draw = self.draws.draw(step, turn)
            self._drawn = (step, turn), draw, self.readers[turn].split(len(draw))
        _, draw, pieces = self._drawn
        batch = self.readers[turn].move(draw.fetch(pieces[number].place))
        return _Read(len(draw), pieces, batch), self._following(place, len(pieces))

    def _following(self, place: _Place, pieces: int) -> _Place | None:
        step, turn, number = place
        if number + 1 < pieces:
            return step, turn, number + 1
        if turn + 1 < len(self.readers):
            return step, turn + 1, 0
        return (step + 1, 0, 0) if step + 1 < self.steps else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._ahead.__exit__(*failure)
