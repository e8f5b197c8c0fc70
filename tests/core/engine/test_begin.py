"""An objective is told how many steps it has, when its training begins and whenever it is resumed."""

import pytest
import torch
from maquette.core.data import TensorSource
from maquette.core.engine.loop import fit
from maquette.core.engine.plan import StageConfig, TrainingConfig
from maquette.core.errors import Interrupted
from maquette.core.objective import Losses, Objective, Player, Stage, transform_batches
from torch import nn


class Annealed(Objective):
    """Keeps the numbers of steps that it is told."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.told = network, []

    def begin(self, steps):
        self.told.append(steps)

    def forward(self, batch, noise):
        return Losses(self.network(batch.x).square().sum(1))


class Stop:
    """A listener that ends a fit after the row of a step of a stage."""

    def __init__(self, name, step):
        self.at, self.current = (name, step), ""

    def stage(self, name, steps):
        self.current = name

    def row(self, row):
        return (self.current, row["step"]) == self.at

    def checkpoint(self, step):
        pass


@pytest.mark.parametrize("label", ["", "second"], ids=["plain", "transformed"])
def test_begin_is_called_at_the_start_and_at_every_resume(label, tmp_path):
    """Also through a transform of batches; a player's steps are those of its stage times its turns."""
    network = nn.Linear(2, 2)
    warm, fine = Annealed(network), Annealed(network)
    stages = [
        Stage("warm", (Player("model", warm, (network,)),)),
        Stage("fit", (Player("model", fine, (network,), turns=3),)),
    ]
    if label:
        stages = transform_batches(stages, lambda batch, noise: batch.map(torch.tanh), label=label)
    steps = {stages[0].name: StageConfig(steps=2), stages[1].name: StageConfig(steps=4)}
    plan = TrainingConfig(batch_size=4, stages=steps, log_every=1).plan(stages)
    source = TensorSource(torch.randn(8, 2))
    with pytest.raises(Interrupted):
        fit(plan, source, tmp_path, seed=0, listeners=[Stop(stages[1].name, 2)])
    assert (warm.told, fine.told) == ([2], [12])
    fit(plan, source, tmp_path, seed=0, resume=True)
    assert (warm.told, fine.told) == ([2], [12, 12])
