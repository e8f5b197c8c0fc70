"""The global batches of a stage: which player reads which samples of which sources at each of its turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from torch import Tensor

from ..data import Batch, Source
from ..errors import TrainingError
from ..objective import Player
from .batch_order import BatchOrder
from .plan import ScheduledStage

Sources = Mapping[str, Source]
"""Sources by name; a single one may be named ""."""


def named(source: Source | Sources) -> Sources:
    """Sources by name; one that has none is called "".

    >>> from maquette.core.data import TensorSource
    >>> import torch
    >>> list(named(TensorSource(torch.zeros(3, 1))))
    ['']
    """
    return source if isinstance(source, Mapping) else {"": source}


def names_of(player: Player, sources: Sources, where: str) -> tuple[str, ...]:
    """The names of the sources that a player reads, the leading one first.

    Raises:
        TrainingError: there is no such source, or the player does not say which of several it reads.

    >>> from maquette.core.families.flows.linear import LinearConfig
    >>> from maquette.core.spaces import Vector
    >>> player = LinearConfig().build(Vector(dim=2)).stages()[0].players[0]
    >>> names_of(player, {"": None}, "here")
    ('',)
    """
    if not player.sources and len(sources) == 1:
        return tuple(sources)
    if not player.sources:
        raise TrainingError(f"{where}: there are the sources {sorted(sources)}; its player must say which it reads.")
    if missing := [name for name in player.sources if name not in sources]:
        found = f"there are {sorted(sources)}" if any(sources) else "there is one without a name"
        raise TrainingError(f'{where}: it reads the source "{missing[0]}"; {found}.')
    return player.sources


def expect_readers(stages: Sequence[ScheduledStage], sources: Sources) -> None:
    """Check that players and sources suit each other.

    Raises:
        TrainingError: as `names_of`; or there is a source that no player reads.

    >>> from maquette.core.engine.plan import TrainingConfig
    >>> from maquette.core.families.flows.linear import LinearConfig
    >>> from maquette.core.spaces import Vector
    >>> plan = TrainingConfig().plan(LinearConfig().build(Vector(dim=2)).stages())
    >>> expect_readers(plan.stages, {"photos": None})
    >>> expect_readers(plan.stages, {"photos": None, "paintings": None})
    Traceback (most recent call last):
    maquette.core.errors.TrainingError: stage "fit", player "model": there are the sources ['paintings', 'photos']; ...
    """
    read = {
        name
        for stage in stages
        for player in stage.players
        for name in names_of(player, sources, f'stage "{stage.name}", player "{player.name}"')
    }
    if unread := [name for name in sources if name not in read]:
        raise TrainingError(f'The source "{unread[0]}" is read by no player; they read {sorted(read)}.')


@dataclass(frozen=True)
class Draw:
    """One global batch that has not been read yet.

    Attributes:
        sources: by name.
        rows: global indices, int64 (n,) on the CPU, by source; the first source leads: its indices key the noise.

    >>> import torch
    >>> from maquette.core.data import TensorSource
    >>> draw = Draw({"": TensorSource(torch.arange(10.0))}, {"": torch.tensor([7, 8, 9])})
    >>> len(draw), draw.fetch(torch.tensor([1, 2])).x
    (3, tensor([8., 9.]))
    """

    sources: Sources
    rows: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(next(iter(self.rows.values())))

    def fetch(self, place: Tensor) -> Batch:
        """The samples at some places (int64, 0 to n - 1) of the batch; those of other sources are its `others`."""
        leading, *others = (
            replace(self.sources[name].fetch(rows[place]), place=place, name=name) for name, rows in self.rows.items()
        )
        return replace(leading, others=dict(zip(list(self.rows)[1:], others, strict=True)))


class Draws:
    """The batches of a stage.

    Players that are led by the same source share its epochs: each takes the next batch when its turn comes. A source
    that follows another one gives as many samples as that one, across the borders of its own epochs.

    Args:
        sources: by name.
        stage: whose players take turns.
        turns: players of one step in order.
        seed: the run's seed.
        beside: computes orders ahead of time, see `BatchOrder`.

    >>> import torch
    >>> from maquette.core.data import TensorSource
    >>> from maquette.core.engine.plan import TrainingConfig
    >>> from maquette.core.families.flows.linear import LinearConfig
    >>> from maquette.core.spaces import Vector
    >>> (stage,) = TrainingConfig(batch_size=4).plan(LinearConfig().build(Vector(dim=2)).stages()).stages
    >>> draws = Draws({"": TensorSource(torch.zeros(10, 2))}, stage, stage.players, seed=0)
    >>> [len(draws.draw(step, turn=0)) for step in range(4)]
    [4, 4, 2, 4]
    """

    def __init__(
        self,
        sources: Sources,
        stage: ScheduledStage,
        turns: Sequence[Player],
        seed: int,
        beside: Executor | None = None,
    ) -> None:
        self.sources, self.turns = sources, turns
        self.names = [names_of(player, sources, f'stage "{stage.name}", player "{player.name}"') for player in turns]
        used = {name for names in self.names for name in names}
        self.orders = {
            name: BatchOrder(len(sources[name]), stage.batch_size, seed, name, beside) for name in sorted(used)
        }

    def draw(self, step: int, turn: int) -> Draw:
        """The batch of a turn of a step, both from 0."""
        name, *others = self.names[turn]
        led = [names[0] == name for names in self.names]
        number = step * sum(led) + sum(led[:turn])
        rows = {name: self.orders[name].batch(number)}
        first = self.orders[name].first(number)
        rows |= {other: self.orders[other].rows(first, len(rows[name])) for other in others}
        return Draw(self.sources, rows)
