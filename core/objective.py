"""The loss of a family as a pure module, and how objectives are put in front of one another.

An `Objective` maps a batch and noise to per-sample losses. It never averages over the batch and never changes
state: the engine sums gradients over ranks and micro-batches and divides by the global weight, so uneven last
batches and accumulation are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from .data import Batch
from .noise import Noise


@dataclass
class Losses:
    """What an objective returns.

    Attributes:
        losses: per-sample losses, shape (B,).
        weights: per-sample weights, shape (B,); ones if not given.
        metrics: named per-sample figures, shape (B,), logged as weighted means.
        statistics: named tensors summed over ranks and micro-batches and handed to `Objective.update`.
    """

    losses: Tensor
    weights: Tensor | None = None
    metrics: dict[str, Tensor] = field(default_factory=dict)
    statistics: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.weights is None:
            self.weights = torch.ones_like(self.losses)


class Objective(nn.Module):
    """Base of every objective; `forward(batch, noise)` is the loss.

    Attributes:
        coupled: the loss of one sample depends on the others of its batch (batch statistics); the engine then
            refuses to split the batch.
        double_backward: the loss differentiates through a gradient; such players keep their units unsharded
            through backward and are not compiled.
    """

    coupled: bool = False
    double_backward: bool = False

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        raise TypeError(f"{type(self).__name__} does not define forward(batch, noise).")

    def update(self, statistics: dict[str, Tensor]) -> None:
        """Change state that is not a parameter, once per optimiser step, from globally summed statistics."""


@dataclass(frozen=True)
class Role:
    """One adversary, partner or lone learner in a stage of training.

    Attributes:
        name: unique in its stage; options are addressed by it.
        objective: what it minimises.
        networks: the modules whose parameters it owns (the units of sharding, compilation and averaging).
        turns: optimiser steps it takes per step of the stage.
    """

    name: str
    objective: Objective
    networks: tuple[nn.Module, ...]
    turns: int = 1


@dataclass(frozen=True)
class Act:
    """Roles that train together; acts follow one another. A VAE is one act with one role, a GAN one with two.

    Attributes:
        name: unique in the model; training options are addressed by it.
        roles: who takes turns, in this order.
        prepare: called once when the act begins (not when it is resumed): a student copies its teacher, say.
            When an act ends, its networks keep their averaged weights if averaging was asked for.
    """

    name: str
    roles: tuple[Role, ...]
    prepare: Callable[[], None] | None = None


@runtime_checkable
class Trainable(Protocol):
    """A model that can be fitted."""

    def acts(self) -> Sequence[Act]:
        """The stages of its training, in order."""
        ...


class Adapted(Objective):
    """An objective on transformed batches: codecs, augmentations and chains are put in front with this."""

    def __init__(self, transform: Callable[[Batch, Noise], Batch], objective: Objective) -> None:
        super().__init__()
        self.transform = transform
        self.objective = objective
        self.coupled, self.double_backward = objective.coupled, objective.double_backward

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        with torch.no_grad():
            batch = self.transform(batch, noise.fold("adapt"))
        return self.objective(batch, noise)

    def update(self, statistics: dict[str, Tensor]) -> None:
        self.objective.update(statistics)


def adapt(acts: Sequence[Act], transform: Callable[[Batch, Noise], Batch], *, label: str = "") -> list[Act]:
    """Put a transformation of batches in front of every role of the acts.

    With a label, acts are called "label/name", and one that was called "fit" bears the label alone.
    """

    def name(act: Act) -> str:
        if not label:
            return act.name
        return label if act.name == "fit" else f"{label}/{act.name}"

    return [
        Act(
            name(act),
            tuple(Role(role.name, Adapted(transform, role.objective), role.networks, role.turns) for role in act.roles),
            act.prepare,
        )
        for act in acts
    ]
