"""The loss of a family as a pure module, and the stages and players of its training.

An `Objective` maps a batch and noise to per-sample losses. It does not average over the batch, and changes no state.
The engine sums gradients over ranks and micro-batches and divides by the global weight. So uneven last batches and
gradient accumulation are exact.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from .data import Batch
from .noise import Noise
from .precision import all_digits


@dataclass(init=False)
class Losses:
    """What an objective returns.

    Attributes:
        losses: per-sample losses, shape (B,).
        weights: per-sample weights, shape (B,); ones if not given.
        metrics: named per-sample values, shape (B,), logged as weighted means.
        statistics: named tensors, summed over ranks and micro-batches and passed to `Objective.update`.

    >>> Losses(torch.tensor([0.5, 2.0])).weights
    tensor([1., 1.])
    """

    losses: Tensor
    weights: Tensor
    metrics: dict[str, Tensor]
    statistics: dict[str, Tensor]

    def __init__(
        self,
        losses: Tensor,
        weights: Tensor | None = None,
        metrics: dict[str, Tensor] | None = None,
        statistics: dict[str, Tensor] | None = None,
    ) -> None:
        self.losses = losses
        self.weights = torch.ones_like(losses) if weights is None else weights
        self.metrics = metrics or {}
        self.statistics = statistics or {}


class Objective(nn.Module, ABC):
    """Base of every objective; `forward(batch, noise)` is the loss.

    >>> class SquaredError(Objective):
    ...     def __init__(self, network: nn.Module) -> None:
    ...         super().__init__()
    ...         self.network = network
    ...
    ...     def forward(self, batch: Batch, noise: Noise) -> Losses:
    ...         return Losses((self.network(batch.condition) - batch.x).square().mean(1))
    >>> from maquette.core.noise import KeyedNoise
    >>> batch = Batch(torch.ones(3, 2), torch.zeros(3, 1), torch.arange(3))
    >>> SquaredError(nn.Linear(1, 2))(batch, KeyedNoise(0, batch.index)).losses.shape
    torch.Size([3])

    Attributes:
        coupled: the loss of one sample depends on all others of its batch (batch statistics); the engine then
            refuses to split the batch.
        group: the loss of one sample depends on those of its group of so many consecutive samples. Micro-batches and
            the shares of processes are cut between groups, so that such a loss is the same for any number of processes.
            Every batch must be a multiple of it.
        double_backward: the loss contains a gradient, as a gradient penalty does. The player's networks are then not
            compiled, and stay unsharded until the backward pass has ended.
    """

    coupled: bool = False
    group: int = 1
    double_backward: bool = False

    @abstractmethod
    def forward(self, batch: Batch, noise: Noise) -> Losses:
        """Per-sample losses of a batch; changes nothing."""

    def update(self, statistics: dict[str, Tensor]) -> None:
        """Change state that is not a parameter, once per optimiser step, from globally summed statistics."""

    def begin(self, steps: int) -> None:
        """Called when training begins or is resumed, with the number of the player's steps in its stage."""

    @property
    def updates(self) -> bool:
        """Whether `update` does anything; batches of other objectives may be filled up with samples of weight zero."""
        return type(self).update is not Objective.update


@dataclass(frozen=True)
class Player:
    """What minimises one loss in a stage: the only player of most stages, one of the two of a GAN.

    Attributes:
        name: unique in its stage; options are addressed by it.
        objective: its loss.
        networks: modules whose parameters it trains (the units of sharding, compilation and averaging).
        turns: optimiser steps it takes per step of the stage.
        sources: names of the sources of its batches, if a fit has several; the first leads, the rest are
            `Batch.others`.
        average: what becomes of the running average of its networks' weights. "adopt": the networks take it when the
            stage ends. "aside": they take it when the fit ends, so that later stages go on from the weights themselves
            (progressive growing). "none": there is none.
        gradient: whether it descends a gradient. One that does not, such as a mixture fitted by expectation
            maximisation, has no optimiser: its objective's `update` is the whole step.

    >>> class SquaredNorm(Objective):
    ...     def __init__(self, network: nn.Module) -> None:
    ...         super().__init__()
    ...         self.network = network
    ...
    ...     def forward(self, batch: Batch, noise: Noise) -> Losses:
    ...         return Losses(self.network(batch.x).square().sum(1))
    >>> network = nn.Linear(2, 2)
    >>> player = Player("shrink", SquaredNorm(network), networks=(network,), turns=2)
    >>> Stage("fit", (player,)).players[0].turns
    2
    """

    name: str
    objective: Objective
    networks: tuple[nn.Module, ...]
    turns: int = 1
    sources: tuple[str, ...] = ()
    average: Literal["adopt", "aside", "none"] = "adopt"
    gradient: bool = True


@dataclass(frozen=True)
class Stage:
    """Players that train together; stages follow one another. A VAE is one stage with one player, a GAN one with two.

    Attributes:
        name: unique in the model; training options are addressed by it.
        players: in the order in which they take turns.
        prepare: called once when the stage begins, not when it is resumed (a student copies its teacher, for example).
    """

    name: str
    players: tuple[Player, ...]
    prepare: Callable[[], None] | None = None


@runtime_checkable
class Trainable(Protocol):
    """A model that can be fitted."""

    def stages(self) -> Sequence[Stage]:
        """The stages of its training, in order."""
        ...


class TransformedObjective(Objective):
    """An objective on transformed batches; codecs, augmentations and chains use it by `transform_batches`.

    The transform has no gradients, and keeps the precision of its input where the loss runs under autocast: data
    that a codec has rounded to bfloat16 would be other data.
    """

    def __init__(self, transform: Callable[[Batch, Noise], Batch], objective: Objective) -> None:
        super().__init__()
        self.transform = transform
        self.objective = objective
        self.coupled, self.group = objective.coupled, objective.group
        self.double_backward = objective.double_backward

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        with torch.no_grad(), all_digits():
            others = {
                name: replace(self.transform(other, noise.fold(f"adapt/{name}")), name=name)
                for name, other in batch.others.items()
            }
            transformed = self.transform(replace(batch, others={}), noise.fold("adapt"))
        return self.objective(replace(transformed, place=batch.place, name=batch.name, others=others), noise)

    def update(self, statistics: dict[str, Tensor]) -> None:
        self.objective.update(statistics)

    def begin(self, steps: int) -> None:
        self.objective.begin(steps)

    @property
    def updates(self) -> bool:
        return self.objective.updates


def transform_batches(
    stages: Sequence[Stage], transform: Callable[[Batch, Noise], Batch], *, label: str = ""
) -> list[Stage]:
    """Let every player of the stages see transformed batches.

    With a label, stages are renamed "label/name"; one that was called "fit" gets the label alone.

    >>> from maquette.core.families.flows.linear import LinearConfig
    >>> from maquette.core.spaces import Vector
    >>> stages = LinearConfig().build(Vector(dim=2)).stages()
    >>> (stage,) = transform_batches(stages, lambda batch, noise: batch.map(torch.tanh), label="second")
    >>> stage.name, isinstance(stage.players[0].objective, TransformedObjective)
    ('second', True)
    """

    def name(stage: Stage) -> str:
        if not label:
            return stage.name
        return label if stage.name == "fit" else f"{label}/{stage.name}"

    return [
        Stage(
            name(stage),
            tuple(
                replace(player, objective=TransformedObjective(transform, player.objective)) for player in stage.players
            ),
            stage.prepare,
        )
        for stage in stages
    ]
