"""Stops a fit whose loss or gradient is not finite before that state reaches a checkpoint."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..errors import TrainingError
from .world import World

_NEVER = 2**62


class NotFinite(TrainingError):
    """A loss or gradient that is not finite.

    Attributes:
        weights_changed: the weights were updated since, so the state in memory must not be saved.
    """

    def __init__(self, message: str, *, weights_changed: bool) -> None:
        super().__init__(message)
        self.weights_changed = weights_changed


class FiniteCheck:
    """Checks every step of one player.

    On a CPU the error is raised before the optimiser steps, and names the samples. On an accelerator that would make
    every step wait for the device. There the device stores the number of the first bad step, and `raise_pending` reads
    it when a row or a checkpoint is due; the last checkpoint is then the last good state.

    Args:
        where: stage and player, for the message.
        device: where losses are computed.
        world: of all processes; they check the same values and raise together.

    >>> nan, samples = torch.tensor(float("nan")), torch.tensor([4, 9])
    >>> check = FiniteCheck("here", torch.device("cpu"), World())
    >>> check.check(7, nan, nan, seen=[(samples, torch.tensor([0.5, float("nan")]))], changed=False)
    Traceback (most recent call last):
    maquette.core.engine.finite.NotFinite: here, step 7: the loss is not finite for the samples [9] (global indices)...
    """

    def __init__(self, where: str, device: torch.device, world: World) -> None:
        self.where, self.world, self.immediate = where, world, device.type == "cpu"
        self.first = torch.full((), _NEVER, dtype=torch.int64, device=device)

    def check(self, step: int, loss: Tensor, norm: Tensor, seen: list[tuple[Tensor, Tensor]], changed: bool) -> None:
        """Check loss and gradient of one step, which are the same on all processes.

        Args:
            step: number of the step, from 1.
            loss: global mean loss, a scalar.
            norm: global norm of the gradient, a scalar.
            seen: indices and losses of this process's micro-batches.
            changed: the weights changed since the step began (LBFGS evaluates the loss several times in a step).

        Raises:
            NotFinite: on a CPU.
        """
        if not self.immediate:
            fine = torch.isfinite(loss + norm)  # the sum of two finite values is finite in double precision
            note = torch.where(fine, torch.full_like(self.first, _NEVER), step)
            self.first = torch.minimum(self.first, note)
        elif not (math.isfinite(loss) and math.isfinite(norm)):
            mine = [i for index, losses in seen for i in index[~torch.isfinite(losses)].tolist()]
            bad = sorted({i for part in self.world.gather(mine) for i in part})
            if bad:
                more = f" and {len(bad) - 8} more" if len(bad) > 8 else ""
                what = f"the loss is not finite for the samples {bad[:8]}{more} (global indices)"
            elif torch.isfinite(loss):
                what = "the gradient is not finite although every loss is"
            else:
                what = "the mean loss is not finite although every loss is (do the weights sum to zero?)"
            raise NotFinite(f"{self.where}, step {step}: {what}. {_ADVICE}", weights_changed=changed)

    def raise_pending(self) -> None:
        """Raise `NotFinite` if the device has stored a bad step."""
        if not self.immediate and (first := int(self.first)) != _NEVER:
            what = "the loss or its gradient is not finite"
            raise NotFinite(f"{self.where}, step {first}: {what}. {_ADVICE}", weights_changed=True)


_ADVICE = (
    "Check those samples for NaN and extreme values, or lower the learning rate, or clip gradients "
    "(optimizer.clip); the last good state is kept."
)
