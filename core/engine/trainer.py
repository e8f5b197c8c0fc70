"""Trains one player: its objective, its optimiser, and one optimiser step over a global batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from ..data import Batch, Source
from ..dtypes import move
from ..errors import TrainingError
from ..noise import KeyedNoise
from ..objective import Losses, Player
from . import optimizers
from .batch_order import split_batch
from .finite import FiniteCheck
from .parallel import full_tensor, no_sync, replicate, to_local
from .plan import Plan, ScheduledStage
from .schedules import learning_rate
from .world import World


@dataclass
class StepSums:
    """Weighted sums over the samples of a step; they stay on the device until `means` is called.

    Attributes:
        names: "loss", then the objective's metrics.
        totals: the sum of weights, then of weight x value for each name; float64, shape (1 + names,), empty before the
            first batch.
        statistics: sums of the objective's statistics, by name.

    >>> sums = StepSums()
    >>> sums.add(Losses(torch.tensor([1.0, 4.0]), weights=torch.tensor([2.0, 1.0])), counts=True)
    >>> sums.means()
    {'loss': 2.0}
    """

    names: list[str] = field(default_factory=list)
    totals: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.float64))
    statistics: dict[str, Tensor] = field(default_factory=dict)

    def add(self, out: Losses, counts: bool) -> None:
        """Add a micro-batch. One that does not count adds zeros, so that all processes have the same names."""
        with torch.no_grad():
            values = {"loss": out.losses, **out.metrics}
            weights = out.weights.double() * counts
            totals = torch.stack([weights.sum(), *((weights * value).sum() for value in values.values())])
            self.totals = self.totals + totals if self.names else totals
            self.names = list(values)
            for name, tensor in out.statistics.items():
                part = tensor.detach() * counts
                self.statistics[name] = self.statistics[name] + part if name in self.statistics else part

    def all_reduce(self, world: World) -> None:
        """Sum over all processes."""
        world.all_reduce(self.totals)
        for name in sorted(self.statistics):
            world.all_reduce(self.statistics[name])

    @property
    def weight(self) -> Tensor:
        """Sum of the weights, a scalar."""
        return self.totals[0]

    @property
    def loss(self) -> Tensor:
        """Weighted mean of the loss, a scalar."""
        return self.totals[1] / self.totals[0]

    def means(self) -> dict[str, float]:
        """Weighted means by name; waits for the device."""
        return dict(zip(self.names, (self.totals[1:] / self.totals[0]).tolist(), strict=True))

    def dump(self) -> dict[str, Any]:
        """Names and sums as plain JSON, for a checkpoint within a step."""
        return {"names": self.names, "totals": self.totals.tolist()}

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> Self:
        """Inverse of `dump`."""
        return cls(content["names"], torch.tensor(content["totals"], dtype=torch.float64))


class PlayerTrainer:
    """Takes the optimiser steps of one player of a stage.

    Gradients are summed over samples, micro-batches and processes and divided by the global weight, so that uneven
    batches are exact.

    Args:
        stage: to which the player belongs.
        player: whose networks are trained.
        plan: has the options that all stages share.
        world: rank of this process, and number of all.
        device: of the networks.
        seed: the run's seed.

    Raises:
        TrainingError: the player has nothing to train, or cannot be trained by this plan.

    >>> from maquette.core.data import TensorSource
    >>> from maquette.core.engine.plan import OptimizerConfig, TrainingConfig
    >>> from maquette.core.families.flows.linear import LinearConfig
    >>> from maquette.core.spaces import Vector
    >>> flow = LinearConfig().build(Vector(dim=2))
    >>> plan = TrainingConfig(optimizer=OptimizerConfig(lr=0.1)).plan(flow.stages())
    >>> (stage,) = plan.stages
    >>> trainer = PlayerTrainer(stage, stage.players[0], plan, World(), torch.device("cpu"), seed=0)
    >>> source, losses = TensorSource(3 * torch.randn(10, 2)), []
    >>> for step in range(3):  # on the same batch
    ...     trainer.step(source, torch.arange(10), number=step, step=step)
    ...     losses.append(trainer.sums.means()["loss"])
    >>> losses[0] > losses[1] > losses[2]
    True
    """

    def __init__(
        self, stage: ScheduledStage, player: Player, plan: Plan, world: World, device: torch.device, seed: int
    ) -> None:
        self.player, self.stage, self.world, self.device, self.seed = player, stage, world, device, seed
        self.where = f'stage "{stage.name}", player "{player.name}"'
        self.stream = f"train/{stage.name}/{player.name}"
        self.options = stage.optimizers[player.name]
        self.micro_batch = plan.training.micro_batch
        self.precision = plan.training.parallel.precision
        self.dtype = plan.training.parallel.dtype
        self.parameters = _trainable(player)
        self._check()
        self.optimizer = optimizers.build(self.options, self.parameters)
        self.finite = FiniteCheck(self.where, device, world)
        self.sums = StepSums()
        self._plan = plan
        self._wrapped: nn.Module | None = None

    def _check(self) -> None:
        inside = {id(parameter) for parameter in self.player.objective.parameters()}
        if not self.parameters:
            raise TrainingError(f"{self.where}: its networks have no parameters to train.")
        if any(id(parameter) not in inside for parameter in self.parameters):
            raise TrainingError(f"{self.where}: the objective must hold the networks of its player as submodules.")
        if not self.player.objective.coupled:
            return
        if self.micro_batch is not None and self.micro_batch < self.stage.batch_size:
            raise TrainingError(
                f"{self.where}: its loss couples the samples of a batch, so {self.stage.batch_size} samples cannot be "
                f"split into micro-batches of {self.micro_batch}; unset training.micro_batch or lower batch_size."
            )
        if self.world.size > 1:
            raise TrainingError(
                f"{self.where}: its loss couples the samples of a batch, which {self.world.size} processes would cut "
                "apart; start one process, or choose an objective without batch statistics."
            )

    def step(self, source: Source, index: Tensor, number: int, step: int) -> None:
        """Take one optimiser step.

        Args:
            source: of the samples.
            index: global indices of the batch, int64 on the CPU; the same on all processes.
            number: of this optimiser step in the stage, from 0; keys the noise.
            step: of the stage, from 0; decides the learning rate.

        Raises:
            NotFinite: the loss or its gradient is not finite.
        """
        pieces = split_batch(index, self.world.rank, self.world.size, self.micro_batch)
        if self._wrapped is None:  # only now are all other players frozen
            self._wrapped = replicate(self.player.objective, self._plan, self.world)
            if self._wrapped is not self.player.objective:
                # DDP rebuilds its buckets after the first backward. That backward must not count: the last bits of sums
                # depend on the buckets, and a resumed fit must equal an uninterrupted one to the bit.
                self._gradients(source, pieces, number)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(step)
        evaluations = 0

        def closure() -> Tensor:
            nonlocal evaluations
            sums, seen = self._gradients(source, pieces, number)
            norm = self._norm()
            self.finite.check(step + 1, sums.loss, norm, seen, changed=evaluations > 0)
            if self.options.clip is not None:
                clip_grads_with_norm_(self.parameters, self.options.clip, norm)
            if evaluations == 0:
                self.sums = sums
            evaluations += 1
            return sums.loss

        self.optimizer.step(cast(Callable[[], float], closure))  # torch takes a tensor, too
        with torch.no_grad():
            self.player.objective.update(self.sums.statistics)

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step of the stage."""
        return learning_rate(self.options, step, self.stage.steps)

    def _gradients(
        self, source: Source, pieces: list[tuple[Tensor, bool]], number: int
    ) -> tuple[StepSums, list[tuple[Tensor, Tensor]]]:
        """Fill the gradients of the global mean loss; return sums, and (indices, losses) of each micro-batch."""
        self.optimizer.zero_grad(set_to_none=True)
        sums, seen = StepSums(), []
        forward, alone = self._wrapped, len(pieces) == 1
        assert forward is not None
        for k, (indices, counts) in enumerate(pieces):
            batch = self._move(source.fetch(indices))
            noise = KeyedNoise(self.seed, batch.index, self.stream, number, self.dtype)
            last = k == len(pieces) - 1
            with nullcontext() if last else no_sync(forward), torch.enable_grad():
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
                    out: Losses = forward(batch, noise)
                sums.add(out, counts)
                if alone:  # the weight is known before backward, which saves a pass over the gradients
                    sums.all_reduce(self.world)
                total = (out.weights * out.losses).sum().to(self.dtype) * counts
                # `ddp` and `fsdp` average gradients over processes; this factor makes that a sum
                (total * self.world.size / (sums.weight if alone else 1)).backward()
            seen.append((batch.index, out.losses.detach()))
        if not alone:
            sums.all_reduce(self.world)
            gradients = [to_local(parameter.grad) for parameter in self.parameters if parameter.grad is not None]
            torch._foreach_div_(gradients, sums.weight)  # pyright: ignore[reportPrivateImportUsage]
        return sums, seen

    def _norm(self) -> Tensor:
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        return full_tensor(get_total_norm(gradients)).to(self.device)

    def _move(self, batch: Batch) -> Batch:
        if self.device.type == "cpu":
            return batch.to(self.device, self.dtype)
        pinned = batch.map(lambda tensor: tensor if tensor.is_cuda else tensor.pin_memory())
        moved = pinned.map(lambda tensor: move(tensor, self.device, self.dtype, non_blocking=True))
        return replace(moved, index=batch.index.to(self.device))


def _trainable(player: Player) -> list[nn.Parameter]:
    """The parameters of a player's networks that require gradients, each once, without empty ones."""
    own = {id(parameter): parameter for network in player.networks for parameter in network.parameters()}
    return [parameter for parameter in own.values() if parameter.requires_grad and parameter.numel()]


def freeze_others(trainers: Sequence[PlayerTrainer], trainer: PlayerTrainer) -> None:
    """Let only the parameters of one trainer require gradients, among those of all objectives of the stage.

    >>> from maquette.core.engine.plan import TrainingConfig
    >>> from maquette.core.families.gan.gan import GANConfig
    >>> from maquette.core.spaces import Vector
    >>> gan = GANConfig.example().build(Vector(dim=2))
    >>> plan = TrainingConfig().plan(gan.stages())
    >>> (stage,) = plan.stages
    >>> trainers = [PlayerTrainer(stage, one, plan, World(), torch.device("cpu"), seed=0) for one in stage.players]
    >>> with requires_grad_restored(trainers):
    ...     freeze_others(trainers, trainers[0])
    ...     [all(parameter.requires_grad for parameter in trainer.parameters) for trainer in trainers]
    [True, False]
    >>> all(parameter.requires_grad for parameter in gan.parameters())
    True
    """
    own = {id(parameter) for parameter in trainer.parameters}
    for other in trainers:
        for parameter in other.player.objective.parameters():
            parameter.requires_grad_(id(parameter) in own)


@contextmanager
def requires_grad_restored(trainers: Sequence[PlayerTrainer]) -> Iterator[None]:
    """Restore on exit which parameters require gradients."""
    flags = [
        (parameter, parameter.requires_grad)
        for trainer in trainers
        for parameter in trainer.player.objective.parameters()
    ]
    try:
        yield
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
