import pytest
import torch
from maquette.core.noise import KeyedNoise


@pytest.fixture
def train():
    """Some steps of Adam on one stage of a model, with a cosine schedule."""

    def run(stage, batch_at, steps, lr, betas=(0.9, 0.999)):
        """`batch_at(number)` gives the batch of every step of every player."""
        optimizers = [torch.optim.Adam(player.networks[0].parameters(), lr, betas) for player in stage.players]
        schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps) for optimizer in optimizers]
        for step in range(steps):
            for number, player in enumerate(stage.players):
                batch = batch_at(step * len(stage.players) + number)
                noise = KeyedNoise(0, batch.index, player.name, step, dtype=batch.x.dtype)
                optimizers[number].zero_grad()
                player.objective(batch, noise).losses.mean().backward()
                optimizers[number].step()
                schedules[number].step()

    return run
