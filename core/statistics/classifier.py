"""A small network as the learner of the classifier two-sample test."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .two_sample import Labels, Matrix, Progress


@dataclass(frozen=True)
class NetworkLearner:
    """A plain network, Adam on binary cross-entropy; the epoch with the best validation accuracy is kept.

    Width, rate, batch, epochs and the choice of the epoch are those of the CaloChallenge (arXiv:2410.21611, section
    4), whose code counts layers otherwise: an input layer and two more, so three hidden ones, in float64.

    Attributes:
        hidden: units in each hidden layer.
        layers: number of hidden layers.
        epochs: passes over the training rows.
        batch: rows per optimiser step.
        rate: learning rate.
        device: where it trains.
    """

    hidden: int = 512
    layers: int = 2
    epochs: int = 50
    batch: int = 1000
    rate: float = 2e-4
    device: str = "cpu"

    def __str__(self) -> str:
        return (
            f"a network with {self.layers} hidden layers of {self.hidden}, Adam {self.rate:g}, batch {self.batch:,}, "
            f"{self.epochs} epochs"
        )

    def __call__(
        self, train: tuple[Matrix, Labels], valid: tuple[Matrix, Labels], *, seed: int, progress: Progress
    ) -> Callable[[Matrix], NDArray[np.float64]]:
        x, y = self._move(train[0]), self._move(train[1])
        x_valid, y_valid = self._move(valid[0]), self._move(valid[1])
        net = self._network(x.shape[1], seed)
        optimiser = torch.optim.Adam(net.parameters(), lr=self.rate)
        order = torch.Generator().manual_seed(seed)
        best, kept = -1.0, deepcopy(net.state_dict())
        for epoch in range(self.epochs):
            for rows in torch.randperm(len(x), generator=order).to(x.device).split(self.batch):
                optimiser.zero_grad()
                nn.functional.binary_cross_entropy_with_logits(net(x[rows]).squeeze(1), y[rows]).backward()
                optimiser.step()
            accuracy = ((self._logits(net, x_valid) > 0) == (y_valid > 0.5)).double().mean().item()
            if accuracy > best:
                best, kept = accuracy, deepcopy(net.state_dict())
            progress(epoch + 1, self.epochs)
        net.load_state_dict(kept)
        return lambda rows: torch.sigmoid(self._logits(net, self._move(rows)).double()).cpu().numpy()

    def _move(self, rows: NDArray) -> Tensor:
        return torch.as_tensor(rows, dtype=torch.float32, device=self.device)

    def _network(self, features: int, seed: int) -> nn.Module:
        widths = [features] + [self.hidden] * self.layers
        with torch.random.fork_rng(devices=[]):  # initialisation draws from the global generator
            torch.manual_seed(seed)
            body = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.LeakyReLU())]
            return nn.Sequential(*body, nn.Linear(widths[-1], 1)).to(self.device)

    @torch.no_grad()
    def _logits(self, net: nn.Module, rows: Tensor) -> Tensor:
        return torch.cat([net(part).squeeze(1) for part in rows.split(8192)])
