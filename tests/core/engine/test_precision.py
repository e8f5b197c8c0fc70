"""Precision of a fit: what runs in bfloat16 and what does not, and complex state."""

from pathlib import Path

import pytest
import torch
from maquette.core.data import Batch, TensorSource
from maquette.core.engine.loop import fit
from maquette.core.engine.plan import ParallelConfig, TrainingConfig
from maquette.core.noise import Noise
from maquette.core.objective import Losses, Objective, Player, Stage, transform_batches
from torch import Tensor, nn


class Seen(Objective):
    """Least squares that keeps the samples and the network's outputs it saw."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.seen, self.made = network, [], []

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        assert isinstance(batch.x, Tensor)
        y = self.network(batch.x)
        self.seen.append(batch.x)
        self.made.append(y)
        return Losses((y.float() - batch.x).square().mean(1))


def test_codecs_keep_float32_where_the_loss_runs_in_bfloat16(tmp_path: Path) -> None:
    torch.manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(4, 4))[0]
    x = torch.randn(8, 4)
    network = nn.Linear(4, 4)
    objective = Seen(network)
    stages = transform_batches(
        [Stage("fit", (Player("model", objective, (network,)),))],
        lambda batch, noise: batch.map(lambda t: t @ rotation),
    )
    training = TrainingConfig(steps=1, batch_size=8, parallel=ParallelConfig(precision="bfloat16"))
    fit(training.plan(stages), TensorSource(x), tmp_path, seed=0)
    (seen,), (made,) = objective.seen, objective.made
    assert seen.dtype == torch.float32
    found, expected = seen.sort(dim=0).values, (x @ rotation).sort(dim=0).values
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    assert made.dtype == torch.bfloat16


class Phases(Objective):
    """Rotates complex samples by a complex buffer."""

    turn: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.seen = network, []
        self.register_buffer("turn", torch.tensor([0.5j, 1.0 - 2j]))

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        assert isinstance(batch.x, Tensor)
        self.seen.append(batch.x)
        return Losses(self.network(torch.view_as_real(batch.x * self.turn).flatten(1)).square().mean(1))


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("float64", torch.complex128), ("float32", torch.complex64), ("bfloat16", torch.complex64)],
)
def test_complex_samples_and_buffers_keep_their_imaginary_parts(
    precision: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    network = nn.Linear(4, 1)
    objective = Phases(network)
    x = torch.complex(torch.zeros(5, 2), torch.arange(10.0).view(5, 2))
    parallel = ParallelConfig.model_validate({"precision": precision})
    plan = TrainingConfig(steps=1, parallel=parallel).plan([Stage("fit", (Player("model", objective, (network,)),))])
    fit(plan, TensorSource(x), tmp_path, seed=0)
    assert objective.turn.dtype == dtype
    assert objective.turn.tolist() == [0.5j, 1.0 - 2j]
    (seen,) = objective.seen
    assert seen.dtype == dtype
    assert sorted(seen.imag.flatten().tolist()) == list(range(10))
    objective.turn.zero_()
    fit(plan, TensorSource(x), tmp_path, seed=0, resume=True)  # reads the checkpoint
    assert objective.turn.tolist() == [0.5j, 1.0 - 2j]
