"""The loss on rows that were kept from training: an evaluator of the engine."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ..core.engine.evaluate import NoiseFactory
from ..core.engine.plan import Plan
from ..domains.plugin import Dataset

BATCH = 1000


class HeldOutLoss:
    """Mean loss of every player over the held-out rows, as `heldout/STAGE/PLAYER`.

    All stages are looked at, whether their turn has come or not. Players whose loss contains gradients of its own
    (gradient penalties) are left out, because evaluation computes none.

    Args:
        plan: what is trained.
        data: the held-out rows.
        device: where the networks are.
        every: steps between two looks.
    """

    def __init__(self, plan: Plan, data: Dataset, device: torch.device, every: int) -> None:
        self.plan, self.data, self.device, self.every = plan, data, device, every
        self.dtype = plan.training.parallel.dtype

    def __call__(self, noise: NoiseFactory) -> Mapping[str, float]:
        sums: dict[str, float] = {}
        weights: dict[str, float] = {}
        for rows in torch.arange(len(self.data)).split(BATCH):
            batch = self.data.fetch(rows).to(self.device, self.dtype)
            for stage in self.plan.stages:
                for player in stage.players:
                    if player.objective.double_backward:
                        continue
                    losses = player.objective(batch, noise(batch.index))
                    name = f"heldout/{stage.name}/{player.name}"
                    sums[name] = sums.get(name, 0.0) + float((losses.weights * losses.losses).sum())
                    weights[name] = weights.get(name, 0.0) + float(losses.weights.sum())
        return {name: total / weights[name] for name, total in sums.items()}
