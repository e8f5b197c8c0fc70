"""Trains one player: its objective, its optimiser, and one optimiser step over a global batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from ..data import Batch
from ..errors import TrainingError
from ..noise import KeyedNoise
from ..objective import Losses, Player
from . import optimizers
from .batch_order import Piece, split_batch
from .feed import Turn
from .finite import FiniteCheck
from .parallel import full_tensor, no_sync, replicate, to_local
from .plan import Plan, ScheduledStage
from .schedules import learning_rate
from .sums import StepSums, counted
from .world import World


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
    >>> turn = Turn(10, trainer.split(10), lambda number: trainer.move(source.fetch(torch.arange(10))))
    >>> for step in range(3):  # on the same batch
    ...     trainer.step(turn, number=step, step=step)
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
        self.named = _trainable(player) if self.options.kind != "none" else {}
        self.parameters = list(self.named.values())
        self._check()
        self.optimizer = optimizers.build(self.options, self.named, player.networks)
        self.finite = FiniteCheck(self.where, device, world)
        self.sums = StepSums()
        # compiled networks would be compiled again for the shape of an epoch's last batch
        filled = plan.training.parallel.compile and not player.objective.updates and not player.objective.coupled
        self.full = stage.batch_size if filled else None
        player.objective.begin(stage.steps * player.turns)
        self._plan = plan
        self._wrapped: nn.Module | None = None

    def _check(self) -> None:
        objective = self.player.objective
        inside = {id(parameter) for parameter in objective.parameters()}
        if self.options.kind == "none" and not objective.updates:
            raise TrainingError(
                f"{self.where}: it has no optimiser, and its objective no update: nothing would change."
            )
        if self.options.kind != "none" and not self.parameters:
            raise TrainingError(
                f"{self.where}: its networks have no parameters to train; an objective that only has statistics needs "
                "an optimizer of kind=none."
            )
        if any(id(parameter) not in inside for parameter in self.parameters):
            raise TrainingError(f"{self.where}: the objective must hold the networks of its player as submodules.")
        if self.micro_batch is not None and self.micro_batch < objective.group:
            raise TrainingError(
                f"{self.where}: its loss couples groups of {objective.group} samples, which do not fit into "
                f"micro-batches of {self.micro_batch}; raise training.micro_batch."
            )
        if not objective.coupled:
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

    def split(self, samples: int) -> list[Piece]:
        """The micro-batches of this process in a global batch; raises `TrainingError` for one that cannot be split."""
        group = self.player.objective.group
        if samples % group:
            raise TrainingError(
                f"{self.where}: its loss couples groups of {group} samples; expected batches that are multiples of "
                f"that, found one of {samples}: choose batch_size and the number of training samples accordingly."
            )
        return split_batch(samples, self.world.rank, self.world.size, self.micro_batch, group=group, full=self.full)

    def move(self, batch: Batch) -> Batch:
        """The batch on the device, in the precision of the plan."""
        if self.device.type == "cpu":
            return batch.to(self.device, self.dtype)

        def pin(tensor: Tensor) -> Tensor:
            return tensor if tensor.is_cuda else tensor.pin_memory()

        return batch.map(pin, pin).to(self.device, self.dtype, non_blocking=True)

    def step(self, turn: Turn, number: int, step: int) -> None:
        """Take one optimiser step.

        Args:
            turn: the global batch, in the micro-batches of `split`, moved by `move`.
            number: of this optimiser step in the stage, from 0; keys the noise.
            step: of the stage, from 0; decides the learning rate.

        Raises:
            NotFinite: the loss or its gradient is not finite.
        """
        if self.optimizer is None:
            self._follow(turn, number, step)
        else:
            self._descend(self.optimizer, turn, number, step)
        with torch.no_grad():
            self.player.objective.update(self.sums.statistics)

    def _follow(self, turn: Turn, number: int, step: int) -> None:
        """Sum statistics without gradients."""
        sums, seen = StepSums(), []
        with torch.no_grad():
            for k, piece in enumerate(turn.pieces):
                index, out = self._forward(self.player.objective, turn.read(k), number)
                sums.add(out, piece.counts)
                seen.append((index, out.losses))
        sums.all_reduce(self.world)
        self.finite.check(step + 1, sums.loss, torch.zeros_like(sums.loss), seen, changed=False)
        self.sums = sums

    def _descend(self, optimizer: Optimizer, turn: Turn, number: int, step: int) -> None:
        """Take a step of the optimiser."""
        if self._wrapped is None:  # only now are all other players frozen
            self._wrapped = replicate(self.player.objective, self._plan, self.world)
            if self._wrapped is not self.player.objective:
                # DDP rebuilds its buckets after the first backward. That backward must not count: the last bits of sums
                # depend on the buckets, and a resumed fit must equal an uninterrupted one to the bit.
                self._gradients(turn, number)
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate(step)
        evaluations = 0

        def closure() -> Tensor:
            nonlocal evaluations
            sums, seen = self._gradients(turn, number)
            norm = self._norm()
            self.finite.check(step + 1, sums.loss, norm, seen, changed=evaluations > 0)
            if self.options.clip is not None:
                clip_grads_with_norm_(self.parameters, self.options.clip, norm)
            if evaluations == 0:
                self.sums = sums
            evaluations += 1
            return sums.loss

        optimizer.step(cast(Callable[[], float], closure))  # torch takes a tensor, too

    def optimizer_state(self) -> Any:
        """The state of the optimiser by the name of the parameter, empty if there is none."""
        state = {} if self.optimizer is None else self.optimizer.state
        return {name: state[parameter] for name, parameter in self.named.items() if parameter in state}

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step of the stage, 0 without an optimiser."""
        if self.optimizer is None:
            return 0.0
        return learning_rate(self.options, step, self.stage.steps)

    def _forward(self, objective: nn.Module, batch: Batch, number: int) -> tuple[Tensor, Losses]:
        """Indices and losses of a micro-batch."""
        noise = KeyedNoise(self.seed, batch.index, self.stream, number, self.dtype)
        lower = self.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16) if lower else nullcontext():
            return batch.index, objective(batch, noise)

    def _gradients(self, turn: Turn, number: int) -> tuple[StepSums, list[tuple[Tensor, Tensor]]]:
        """Fill the gradients of the global mean loss; return sums, and (indices, losses) of each micro-batch."""
        for parameter in self.parameters:
            parameter.grad = None
        sums, seen = StepSums(), []
        forward, alone = self._wrapped, len(turn.pieces) == 1
        assert forward is not None
        for k, piece in enumerate(turn.pieces):
            last = k == len(turn.pieces) - 1
            with nullcontext() if last else no_sync(forward), torch.enable_grad():
                index, out = self._forward(forward, turn.read(k), number)
                sums.add(out, piece.counts)
                if alone:  # the weight is known before backward, which saves a pass over the gradients
                    sums.all_reduce(self.world)
                total = counted(out.weights * out.losses, piece.counts).sum().to(self.dtype)
                # `ddp` and `fsdp` average gradients over processes; this factor makes that a sum
                (total * self.world.size / (sums.weight if alone else 1)).backward()
            seen.append((index, out.losses.detach()))
        if not alone:
            sums.all_reduce(self.world)
            gradients = [to_local(parameter.grad) for parameter in self.parameters if parameter.grad is not None]
            torch._foreach_div_(gradients, sums.weight)  # pyright: ignore[reportPrivateImportUsage]
        return sums, seen

    def _norm(self) -> Tensor:
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        return full_tensor(get_total_norm(gradients)).to(self.device)


def _trainable(player: Player) -> dict[str, nn.Parameter]:
    """The parameters of a player's networks that require gradients, each under one name, without empty ones."""
    own: dict[int, tuple[str, nn.Parameter]] = {}
    for number, network in enumerate(player.networks):
        for name, parameter in network.named_parameters():
            own.setdefault(id(parameter), (f"{number}/{name}", parameter))
    return {name: parameter for name, parameter in own.values() if parameter.requires_grad and parameter.numel()}


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
