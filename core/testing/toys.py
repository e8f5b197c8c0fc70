"""Small plans that use all parts of the engine; the laws of training are tested on them.

Each `*_plan(parallel)` builds the same weights whenever it is called, and each `*_source()` the same samples.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..data import Batch, TensorSource
from ..engine.plan import CheckpointConfig, OptimizerConfig, ParallelConfig, Plan, TrainingConfig
from ..noise import KeyedNoise, Noise
from ..objective import Losses, Objective, Player, Stage

SAMPLES = 45
"""Four batches of 11 and one of a single sample: one of two processes then has none."""


def _network(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 9), nn.SiLU(), nn.Linear(9, outputs))


def _training(parallel: ParallelConfig, micro_batch: int | None, steps: int) -> TrainingConfig:
    return TrainingConfig(
        steps=steps,
        batch_size=11,
        micro_batch=micro_batch,
        optimizer=OptimizerConfig(lr=1e-2, clip=1.0, warmup=3),
        ema_decay=0.9,
        log_every=1,
        checkpoint=CheckpointConfig(every=10),
        parallel=parallel,
    )


class Denoising(Objective):
    """Weighted denoising loss with a running scale that follows a sum over the batch, and changes only in `update`.

    >>> objective = Denoising(nn.Linear(3, 3)).double()
    >>> batch = denoiser_source().fetch(torch.arange(5))
    >>> losses = objective(batch, KeyedNoise(0, batch.index, dtype=torch.float64))
    >>> losses.losses.shape, sorted(losses.metrics)
    (torch.Size([5]), ['rms'])
    >>> objective.update(losses.statistics)
    >>> objective.scale.item() > 1
    True
    """

    scale: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("scale", torch.ones(()))

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        assert isinstance(batch.x, Tensor)
        residual = self.network(batch.x + noise.normal("x", (3,))) - batch.x
        losses = residual.square().mean(1)
        weights, metrics = 0.5 + noise.uniform("weight"), {"rms": losses.sqrt()}
        return Losses(losses / self.scale, weights, metrics, {"sum": losses.sum()})

    def update(self, statistics: dict[str, Tensor]) -> None:
        self.scale.lerp_(1 + statistics["sum"] / 10, 0.1)


class _Imitation(Objective):
    """Regression of a student onto half the output of a teacher, which is not trained."""

    def __init__(self, teacher: nn.Module, student: nn.Module) -> None:
        super().__init__()
        self.teacher, self.student = teacher, student

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        x = noise.normal("x", (3,))
        return Losses((self.student(x) - 0.5 * self.teacher(x)).square().mean(1))


def denoiser_plan(parallel: ParallelConfig, micro_batch: int | None = 3) -> Plan:
    """Two stages of 25 steps: a network learns to denoise, then a copy of it learns to return half its output.

    >>> plan = denoiser_plan(ParallelConfig(precision="float64"))
    >>> [(stage.name, stage.steps, [player.name for player in stage.players]) for stage in plan.stages]
    [('fit', 25, ['model']), ('halve', 25, ['student'])]
    """
    torch.manual_seed(1)
    teacher, student = _network(3, 3), _network(3, 3)

    def prepare() -> None:
        student.load_state_dict(teacher.state_dict())

    stages = (
        Stage("fit", (Player("model", Denoising(teacher), (teacher,)),)),
        Stage("halve", (Player("student", _Imitation(teacher, student), (student,)),), prepare),
    )
    return _training(parallel, micro_batch, 25).plan(stages)


def denoiser_source() -> TensorSource:
    """Normal vectors, shape (45, 3).

    >>> len(denoiser_source())
    45
    """
    return TensorSource(KeyedNoise(5, torch.arange(SAMPLES), dtype=torch.float64).normal("x", (3,)))


class _Critic(Objective):
    """Wasserstein critic with gradient penalty (Gulrajani et al., arXiv:1704.00028, eq. 3)."""

    double_backward = True

    def __init__(self, critic: nn.Module, generator: nn.Module) -> None:
        super().__init__()
        self.critic, self.generator = critic, generator

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        assert isinstance(batch.x, Tensor)
        with torch.no_grad():
            made = self.generator(noise.normal("z", (2,)))
        t = noise.uniform("share", (1,))
        between = (t * batch.x + (1 - t) * made).requires_grad_(True)
        (slope,) = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
        distance = (self.critic(batch.x) - self.critic(made)).squeeze(1)
        return Losses(10 * (slope.norm(dim=1) - 1).square() - distance, metrics={"distance": distance})


class _Generator(Objective):
    def __init__(self, critic: nn.Module, generator: nn.Module) -> None:
        super().__init__()
        self.critic, self.generator = critic, generator

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        made = self.generator(noise.normal("z", (2,)))
        return Losses(0.1 * (made - batch.x).square().mean(1) - self.critic(made).squeeze(1))


def wasserstein_plan(parallel: ParallelConfig, micro_batch: int | None = None) -> Plan:
    """One stage of 30 steps with two adversaries: the critic takes two turns and differentiates through a gradient.

    >>> (stage,) = wasserstein_plan(ParallelConfig(precision="float64")).stages
    >>> [(player.name, player.turns) for player in stage.players]
    [('critic', 2), ('generator', 1)]
    """
    torch.manual_seed(2)
    critic, generator = _network(3, 1), _network(2, 3)
    players = (
        Player("critic", _Critic(critic, generator), (critic,), turns=2),
        Player("generator", _Generator(critic, generator), (generator,)),
    )
    return _training(parallel, micro_batch, 30).plan([Stage("fit", players)])
