"""Metrics of the model during a fit, computed with its averaged weights and with noise of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn

from ..data import Source
from ..noise import Noise
from ..objective import Player
from .draws import Draw, Sources, named, names_of
from .plan import Plan

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
    are left out, because evaluation computes no gradients.

    Args:
        plan: what is trained.
        source: the held-out samples, or several sources by name.
        device: where the networks are.
        every: steps between two evaluations.
        batch_size: samples evaluated at once.

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
        self, plan: Plan, source: Source | Sources, device: torch.device, every: int, *, batch_size: int = 1000
    ) -> None:
        self.plan, self.sources = plan, named(source)
        self.device, self.every, self.batch_size = device, every, batch_size
        self.dtype = plan.training.parallel.dtype

    def __call__(self, noise: NoiseFactory) -> Mapping[str, float]:
        sums: dict[str, float] = {}
        weights: dict[str, float] = {}
        readers: dict[tuple[str, ...], list[tuple[str, Player]]] = {}
        for stage in self.plan.stages:
            for player in stage.players:
                if not player.objective.double_backward:
                    name = f"{stage.name}/{player.name}"
                    readers.setdefault(names_of(player, self.sources, name), []).append((f"held_out/{name}", player))
        for names, players in readers.items():
            for index in torch.arange(len(self.sources[names[0]])).split(self.batch_size):
                draw = Draw(self.sources, {name: index % len(self.sources[name]) for name in names})
                batch = draw.fetch(torch.arange(len(index))).to(self.device, self.dtype)
                for name, player in players:
                    losses = player.objective(batch, noise(batch.index))
                    sums[name] = sums.get(name, 0.0) + float((losses.weights * losses.losses).sum())
                    weights[name] = weights.get(name, 0.0) + float(losses.weights.sum())
        return {name: total / weights[name] for name, total in sums.items()}
