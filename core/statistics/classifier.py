"""A small network as the classifier of the two-sample test."""

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
    """A multilayer perceptron, trained by Adam on binary cross-entropy; keeps the epoch of best validation accuracy.

    Width, learning rate, batch size, epochs and the choice of the epoch are those of the CaloChallenge
    (arXiv:2410.21611, section 4). The challenge's own code has three hidden layers, in float64.

    Attributes:
        hidden: units in each hidden layer.
        layers: number of hidden layers.
        epochs: passes over the training samples.
        batch_size: samples per optimiser step.
        lr: learning rate.
        device: where it trains.

    >>> print(NetworkLearner(epochs=3))
    a network with 2 hidden layers of 512, Adam 0.0002, batch 1,000, 3 epochs
    """

    hidden: int = 512
    layers: int = 2
    epochs: int = 50
    batch_size: int = 1000
    lr: float = 2e-4
    device: str = "cpu"

    def __str__(self) -> str:
        return (
            f"a network with {self.layers} hidden layers of {self.hidden}, Adam {self.lr:g}, "
            f"batch {self.batch_size:,}, {self.epochs} epochs"
        )

    def __call__(
        self, train: tuple[Matrix, Labels], valid: tuple[Matrix, Labels], *, seed: int, progress: Progress
    ) -> Callable[[Matrix], NDArray[np.float64]]:
        x, y = self._move(train[0]), self._move(train[1])
        x_valid, y_valid = self._move(valid[0]), self._move(valid[1])
        net = self._network(x.shape[1], seed)
        optimiser = torch.optim.Adam(net.parameters(), lr=self.lr)
        order = torch.Generator().manual_seed(seed)
        best, kept = -1.0, deepcopy(net.state_dict())
        for epoch in range(self.epochs):
            for index in torch.randperm(len(x), generator=order).to(x.device).split(self.batch_size):
                optimiser.zero_grad()
                nn.functional.binary_cross_entropy_with_logits(net(x[index]).squeeze(1), y[index]).backward()
                optimiser.step()
            accuracy = ((self._logits(net, x_valid) > 0) == (y_valid > 0.5)).double().mean().item()
            if accuracy > best:
                best, kept = accuracy, deepcopy(net.state_dict())
            progress(epoch + 1, self.epochs)
        net.load_state_dict(kept)
        return lambda samples: torch.sigmoid(self._logits(net, self._move(samples)).double()).cpu().numpy()

    def _move(self, values: NDArray) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=self.device)

    def _network(self, features: int, seed: int) -> nn.Module:
        widths = [features] + [self.hidden] * self.layers
        with torch.random.fork_rng(devices=[]):  # initialisation draws from the global generator
            torch.manual_seed(seed)
            body = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.LeakyReLU())]
            return nn.Sequential(*body, nn.Linear(widths[-1], 1)).to(self.device)

    @torch.no_grad()
    def _logits(self, net: nn.Module, x: Tensor) -> Tensor:
        return torch.cat([net(part).squeeze(1) for part in x.split(8192)])
