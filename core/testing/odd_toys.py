"""Small plans for what a network that descends a gradient on one source does not need.

Like those of `toys`, each `*_plan(parallel)` builds the same state whenever it is called, each `*_source()` the same
samples.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..data import Batch, TensorSource
from ..engine.plan import CheckpointConfig, OptimizerConfig, ParallelConfig, Plan, StageConfig, TrainingConfig
from ..noise import KeyedNoise, Noise
from ..objective import Losses, Objective, Player, Stage


def _training(
    parallel: ParallelConfig, micro_batch: int | None, batch_size: int = 11, **options: object
) -> TrainingConfig:
    return TrainingConfig.model_validate(
        {
            "steps": 12,
            "batch_size": batch_size,
            "micro_batch": micro_batch,
            "optimizer": OptimizerConfig(lr=1e-2),
            "log_every": 1,
            "checkpoint": CheckpointConfig(every=5),
            "parallel": parallel,
            **options,
        }
    )


class Mixture(nn.Module):
    """Two normal distributions on the line; all its state is in buffers.

    >>> Mixture()(torch.tensor([0.0])).exp()  # each half of a normal density at distance 1
    tensor([[0.1210, 0.1210]])
    """

    share: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("share", torch.tensor([0.5, 0.5]))
        self.register_buffer("mean", torch.tensor([-1.0, 1.0]))
        self.register_buffer("variance", torch.ones(2))

    def forward(self, x: Tensor) -> Tensor:
        """Values (B,) to log(share x density) of each component, (B, 2)."""
        z = (x[:, None] - self.mean) ** 2 / self.variance
        return self.share.log() - 0.5 * (z + self.variance.log() + math.log(2 * math.pi))


class Expectation(Objective):
    """Expectation maximisation in steps (Cappe and Moulines, arXiv:0712.4273): statistics follow those of the batches.

    >>> mixture = Mixture().double()
    >>> objective = Expectation(mixture).double()
    >>> batch = mixture_source().fetch(torch.arange(45))
    >>> objective.update(objective(batch, KeyedNoise(0, batch.index)).statistics)
    >>> mixture.mean
    tensor([-1.9777,  2.5404], dtype=torch.float64)
    """

    moments: Tensor
    steps: Tensor

    def __init__(self, mixture: Mixture) -> None:
        super().__init__()
        self.mixture = mixture
        self.register_buffer("moments", torch.zeros(3, 2))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        assert isinstance(batch.x, Tensor)
        joint = self.mixture(batch.x)
        log_p = joint.logsumexp(1)
        each = (joint - log_p[:, None]).exp()
        x = batch.x[:, None]
        moments = torch.stack((each, each * x, each * x**2)).sum(1)
        return Losses(-log_p, statistics={"moments": moments})

    def update(self, statistics: dict[str, Tensor]) -> None:
        self.moments.lerp_(statistics["moments"], (self.steps + 1.0) ** -0.6)
        self.steps += 1
        count, first, second = self.moments
        self.mixture.share.copy_(count / count.sum())
        self.mixture.mean.copy_(first / count)
        self.mixture.variance.copy_(second / count - (first / count) ** 2)


def mixture_plan(parallel: ParallelConfig, micro_batch: int | None = 3) -> Plan:
    """Twelve steps without a gradient.

    >>> mixture_plan(ParallelConfig()).stages[0].optimizers["model"].kind
    'none'
    """
    mixture = Mixture()
    player = Player("model", Expectation(mixture), (mixture,), gradient=False)
    return _training(parallel, micro_batch).plan([Stage("fit", (player,))])


def mixture_source() -> TensorSource:
    """45 values; one in three about 3, the others about -2, with width 0.5.

    >>> mixture_source().x.shape
    torch.Size([45])
    """
    index = torch.arange(45)
    spread = 0.5 * KeyedNoise(6, index, dtype=torch.float64).normal("x")
    return TensorSource(spread + torch.where(index % 3 == 0, 3.0, -2.0))


class Chains(Objective):
    """Contrastive divergence with persistent chains (Tieleman, ICML 2008): slot i goes on where sample i of a step is.

    The chains are buffers. A step of them is a statistic that is zero in all slots of other samples.

    >>> objective = Chains(nn.Linear(2, 1), slots=3)
    >>> batch = Batch(torch.zeros(1, 2), None, torch.tensor([40]), place=torch.tensor([2]))
    >>> objective(batch, KeyedNoise(0, batch.index)).statistics["visited"]
    tensor([0., 0., 1.])
    """

    chains: Tensor

    def __init__(self, energy: nn.Module, slots: int) -> None:
        super().__init__()
        self.energy = energy
        self.register_buffer("chains", torch.zeros(slots, 2))

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        assert isinstance(batch.x, Tensor)
        assert batch.place is not None
        old = self.chains[batch.place].requires_grad_(True)
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(self.energy(old).sum() + 0.5 * old.square().sum(), old)
        moved = (old - 0.1 * slope + 0.2**0.5 * noise.normal("walk", (2,))).detach()
        losses = (self.energy(batch.x) - self.energy(moved)).squeeze(1)
        here = torch.zeros_like(self.chains).index_copy(0, batch.place, moved)
        visited = torch.zeros_like(self.chains[:, 0]).index_fill(0, batch.place, 1.0)
        return Losses(losses, statistics={"chains": here, "visited": visited})

    def update(self, statistics: dict[str, Tensor]) -> None:
        visited = statistics["visited"][:, None] > 0
        self.chains.copy_(torch.where(visited, statistics["chains"], self.chains))


def chains_plan(parallel: ParallelConfig, micro_batch: int | None = 3) -> Plan:
    """Twelve steps of an energy with eleven chains.

    >>> chains_plan(ParallelConfig()).stages[0].players[0].objective.chains.shape
    torch.Size([11, 2])
    """
    torch.manual_seed(3)
    energy = nn.Sequential(nn.Linear(2, 8), nn.SiLU(), nn.Linear(8, 1))
    player = Player("model", Chains(energy, 11), (energy,))
    return _training(parallel, micro_batch).plan([Stage("fit", (player,))])


def plane_source() -> TensorSource:
    """45 points of the plane.

    >>> plane_source().x.shape
    torch.Size([45, 2])
    """
    return TensorSource(1 + 0.5 * KeyedNoise(7, torch.arange(45), dtype=torch.float64).normal("x", (2,)))


class _Translation(Objective):
    """Two translators that undo each other, and whose means meet those of the other source (as CycleGAN's)."""

    def __init__(self, forth: nn.Module, back: nn.Module) -> None:
        super().__init__()
        self.forth, self.back = forth, back

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        x, y = batch.x, batch.others["paintings"].x
        assert isinstance(x, Tensor)
        assert isinstance(y, Tensor)
        cycle = (self.back(self.forth(x)) - x).square() + (self.forth(self.back(y)) - y).square()
        apart = (self.forth(x) - y).square() + (self.back(y) - x).square()
        return Losses((cycle + 0.1 * apart).mean(1))


def translation_plan(parallel: ParallelConfig, micro_batch: int | None = 3) -> Plan:
    """A critic that reads paintings, then two translators that read photos with unpaired paintings.

    >>> [player.sources for player in translation_plan(ParallelConfig()).stages[0].players]
    [('paintings',), ('photos', 'paintings')]
    """
    torch.manual_seed(4)
    forth, back, critic = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)
    players = (
        Player("critic", _Shrinking(critic), (critic,), sources=("paintings",), average="none"),
        Player("translators", _Translation(forth, back), (forth, back), sources=("photos", "paintings")),
    )
    return _training(parallel, micro_batch, ema_decay=0.8).plan([Stage("fit", players)])


def translation_sources() -> dict[str, TensorSource]:
    """45 photos and 17 paintings, which are points of the plane.

    >>> {name: len(source) for name, source in translation_sources().items()}
    {'photos': 45, 'paintings': 17}
    """
    y = KeyedNoise(8, torch.arange(17), dtype=torch.float64).normal("y", (2,)) - 1
    return {"photos": plane_source(), "paintings": TensorSource(y)}


class _Shrinking(Objective):
    """Squared outputs of a network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        return Losses((self.network(batch.x) + noise.normal("x", (2,))).square().mean(1))


class Grouped(Objective):
    """A loss in which four consecutive samples share their standard deviation.

    >>> objective = Grouped(nn.Identity())
    >>> index = torch.arange(8)
    >>> x = torch.cat((torch.zeros(4, 2), torch.tensor([[-1.0, -2.0], [1.0, 2.0]]).repeat(2, 1)))
    >>> objective(Batch(x, None, index), KeyedNoise(0, index)).losses
    tensor([0.0000, 0.0000, 0.0000, 0.0000, 1.7321, 1.7321, 1.7321, 1.7321])
    """

    group = 4

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        y = self.network(batch.x)
        each = y.view(-1, self.group, y.shape[1]).std(1).mean(1)
        return Losses(each.repeat_interleave(self.group))


def grouped_plan(parallel: ParallelConfig, micro_batch: int | None = 6) -> Plan:
    """Twelve steps of batches of twelve: three groups, for two processes one and two.

    >>> grouped_plan(ParallelConfig()).stages[0].batch_size
    12
    """
    torch.manual_seed(5)
    network = nn.Linear(2, 3)
    plan = _training(parallel, micro_batch, 12, ema_decay=0.8)
    return plan.plan([Stage("fit", (Player("model", Grouped(network), (network,)),))])


def grouped_source() -> TensorSource:
    """44 points of the plane: batches of 12, 12, 12 and 8.

    >>> grouped_source().x.shape
    torch.Size([44, 2])
    """
    return TensorSource(plane_source().fetch(torch.arange(44)).x)


def growing_plan(parallel: ParallelConfig, micro_batch: int | None = None) -> Plan:
    """Two stages, each of which trains one network more; averages are kept aside until the end.

    >>> [stage.averages["model"].use for stage in growing_plan(ParallelConfig()).stages]
    ['aside', 'aside']
    """
    torch.manual_seed(6)
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    stages = (
        Stage("small", (Player("model", _Shrinking(first), (first,), average="aside"),)),
        Stage("large", (Player("model", _Shrinking(nn.Sequential(first, second)), (second,), average="aside"),)),
    )
    options = {"small": StageConfig(steps=7), "large": StageConfig(steps=5)}
    return _training(parallel, micro_batch, ema_decay=0.8, stages=options).plan(stages)
