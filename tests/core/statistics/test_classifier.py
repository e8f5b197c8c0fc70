"""The network of the two-sample test."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from maquette.core.statistics.classifier import NetworkLearner


def test_the_network_is_what_its_defaults_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hidden layers of 512, Adam at 2e-4, batches of 1,000, 50 epochs: seen by the optimiser."""
    seen: list[dict] = []

    class Watched(torch.optim.Adam):
        def __init__(self, parameters, lr) -> None:
            parameters = list(parameters)
            seen.append({"shapes": [tuple(p.shape) for p in parameters if p.ndim == 2], "rate": lr, "steps": 0})
            super().__init__(parameters, lr=lr)

        def step(self, closure=None):
            seen[-1]["steps"] += 1
            return super().step(closure)

    monkeypatch.setattr(torch.optim, "Adam", Watched)
    samples = np.zeros((1001, 3), np.float32), np.arange(1001) % 2
    replace(NetworkLearner(), epochs=3)(samples, samples, seed=0, progress=lambda done, total: None)
    assert seen == [{"shapes": [(512, 3), (512, 512), (1, 512)], "rate": 2e-4, "steps": 2 * 3}]
    assert NetworkLearner().epochs == 50
