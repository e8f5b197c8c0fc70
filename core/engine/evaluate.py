"""Metrics of the model during a fit, computed with its averaged weights and with noise of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor, nn

from ..data import Source
from ..memory import bytes_per_sample, samples_at_once
from ..noise import Noise
from ..objective import Losses, Player
from .batch_order import split_batch
from .draws import Draw, Sources, named, names_of
from .plan import Plan, ScheduledStage
from .sums import StepSums
from .world import ALONE, World

NoiseFactory = Callable[[Tensor], Noise]
"""factory(global sample indices, int64, (B,)) -> their noise of the stream "evaluate" at the current step."""


class Evaluator(Protocol):
    """Computes metrics of the current model.

    Called on all processes; what the first one returns is written to the loss file.

    Attributes:
        every: steps between two evaluations.
    """

    every: int

    def __call__(self, noise: NoiseFactory) -> Mapping[str, float]:
        """Metrics by name."""
        ...


@contextmanager
def evaluating(networks: Sequence[nn.Module]) -> Iterator[None]:
    """Put networks in evaluation mode without gradients, then back in the mode they were in.

    >>> layer = nn.Linear(1, 1)
    >>> with evaluating([layer]):
    ...     layer.training, torch.is_grad_enabled()
    (False, False)
    >>> layer.training, torch.is_grad_enabled()
    (True, True)
    """
    modes = [network.training for network in networks]
    try:
        for network in networks:
            network.eval()
        with torch.no_grad():
            yield
    finally:
        for network, mode in zip(networks, modes, strict=True):
            network.train(mode)


class HeldOutLoss:
    """Mean loss of every player over held-out samples, as `held_out/STAGE/PLAYER`: an `Evaluator`.

    All stages are evaluated, whether their turn has come or not. Players with `double_backward` (gradient penalties)
    are left out, because evaluation computes no gradients. Processes share the samples, and any number of them finds
    the same mean. A loss that couples groups of samples leaves out the last ones that are no whole group.

    Args:
        plan: what is trained.
        source: the held-out samples, or several sources by name.
        device: where the networks are.
        every: steps between two evaluations.
        batch_size: most samples that a process evaluates at once. If not given, as many as `core.memory` allows, but no
            more than the plan's micro-batches; of a loss that couples all samples, as many as in training.
        world: of all processes, which must call this together.

    >>> from maquette.core.data import TensorSource
    >>> from maquette.core.engine.plan import TrainingConfig
    >>> from maquette.core.families.flows.linear import LinearConfig
    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> flow = LinearConfig().build(Vector(dim=2))
    >>> plan = TrainingConfig().plan(flow.stages())
    >>> held_out = HeldOutLoss(plan, TensorSource(torch.zeros(20, 2)), torch.device("cpu"), every=100)
    >>> with evaluating([flow]):
    ...     held_out(lambda index: KeyedNoise(0, index))
    {'held_out/fit/model': 0.918...}
    """

    def __init__(
        self,
        plan: Plan,
        source: Source | Sources,
        device: torch.device,
        every: int,
        *,
        batch_size: int | None = None,
        world: World = ALONE,
    ) -> None:
        self.plan, self.sources = plan, named(source)
        self.device, self.every, self.batch_size, self.world = device, every, batch_size, world
        self.dtype = plan.training.parallel.dtype
        self._measured: dict[str, int] = {}

    def __call__(self, noise: NoiseFactory) -> Mapping[str, float]:
        means: dict[str, float] = {}
        for stage in self.plan.stages:
            for player in stage.players:
                name, group = f"{stage.name}/{player.name}", player.objective.group
                names = names_of(player, self.sources, name)
                n = len(self.sources[names[0]]) // group * group
                if n and not player.objective.double_backward:
                    rows = {source: torch.arange(n) % len(self.sources[source]) for source in names}
                    means[f"held_out/{name}"] = self._mean(player, stage, Draw(self.sources, rows), noise)
        return means

    def _mean(self, player: Player, stage: ScheduledStage, draw: Draw, noise: NoiseFactory) -> float:
        def losses(place: Tensor) -> Losses:
            slots = place % stage.batch_size  # training has no more of them
            batch = replace(draw.fetch(place), place=slots).to(self.device, self.dtype)
            out = player.objective(batch, noise(batch.index))
            return Losses(out.losses, out.weights)

        micro_batch, group = self._micro_batch(player, stage, len(draw), losses), player.objective.group
        sums = StepSums()
        for piece in split_batch(len(draw), self.world.rank, self.world.size, micro_batch, group=group):
            sums.add(losses(piece.place), piece.counts)
        sums.all_reduce(self.world)
        return sums.means()["loss"]

    def _micro_batch(self, player: Player, stage: ScheduledStage, n: int, losses: Callable[[Tensor], Losses]) -> int:
        """How many of n samples each process evaluates at once, the same on all."""
        group, name = player.objective.group, f"{stage.name}/{player.name}"
        if self.batch_size is not None:
            return max(group, self.batch_size)
        if player.objective.coupled:
            return stage.batch_size
        if n < 2 * group:
            return n
        if name not in self._measured:
            each = bytes_per_sample(lambda count: losses(torch.arange(count * group)))
            within = group * samples_at_once(self.device, each)
            most = self.plan.training.micro_batch or within
            self._measured[name] = self.world.broadcast(max(group, min(within, most)))
        return self._measured[name]
