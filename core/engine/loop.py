"""The training loop: the same code for one process, DDP and FSDP2, and for one player or several.

A fit is a sequence of stages. In each step of a stage every player takes its turns. A turn is one optimiser step over
the next batch. Batches and noise are functions of seed and position. So a checkpoint holds only weights, optimisers and
counters, and a resumed fit equals an uninterrupted one to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data import Source
from ..dtypes import move_module
from ..errors import Interrupted, TrainingError
from ..noise import KeyedNoise
from ..philox import compiled_draws
from ..precision import tensor_float_32
from .ahead import one_thread
from .clock import Clock
from .draws import Draws, Sources, expect_readers, named
from .evaluate import Evaluator, evaluating
from .feed import Feed
from .finite import NotFinite
from .listeners import Listener
from .losses import FILE, LossFile
from .pace import Pace
from .parallel import compile_networks, reshard, shard
from .plan import Plan, ScheduledStage
from .resident import resident
from .saved import SavedState
from .signals import Signals
from .state import Position, digest
from .trainer import PlayerTrainer, freeze_others, requires_grad_restored
from .world import World, peers_alive, process_group

__all__ = ["Interrupted", "Outcome", "fit"]


@dataclass(frozen=True)
class Outcome:
    """How a fit ended.

    Attributes:
        steps: taken by each stage; fewer than planned if the time budget was used up.
        minutes: spent, over all resumes.
    """

    steps: dict[str, int]
    minutes: float


def fit(
    plan: Plan,
    source: Source | Sources,
    folder: Path | str,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    resume: bool = False,
    evaluator: Evaluator | None = None,
    listeners: Sequence[Listener] = (),
) -> Outcome:
    """Train the networks of a plan in place.

    `losses.jsonl` and `checkpoints/` are written into the folder. Networks and objectives are moved to the device and
    the dtype of the plan; other parts of the model (a codec) must be on the device already. Under `fsdp` with several
    processes the networks stay sharded afterwards: see `parallel.full_state_dict`. SIGTERM and SIGUSR1 end the fit
    after the current step, with its state saved.

    Args:
        plan: stages of players with their options.
        source: samples by global index, or several sources by name (players then say which of them they read); every
            process reads its part of each batch.
        folder: seen by all processes.
        seed: decides order and noise, not the initial weights, which are those that the networks have.
        device: "cpu", or "cuda" (each process takes its own by LOCAL_RANK).
        resume: go on from the newest checkpoint, or begin if there is none.
        evaluator: called with averaged weights in place, every `evaluator.every` steps and at the end of a stage.
        listeners: follow the fit; called on the first process.

    Raises:
        TrainingError: the plan cannot run as asked, a loss is not finite, the disk is full, another process is gone.
        Interrupted: a signal came or a listener asked to stop; the state is saved.

    >>> import tempfile
    >>> from maquette.core.data import TensorSource
    >>> from maquette.core.engine.plan import TrainingConfig
    >>> from maquette.core.families.flows.linear import LinearConfig
    >>> from maquette.core.spaces import Vector
    >>> flow = LinearConfig().build(Vector(dim=2))
    >>> plan = TrainingConfig(steps=3, batch_size=8).plan(flow.stages())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     outcome = fit(plan, TensorSource(torch.randn(20, 2)), folder, seed=0)
    >>> outcome
    Outcome(steps={'fit': 3}, minutes=...)
    """
    tf32 = tensor_float_32(device, plan.training.parallel.precision == "tf32")
    draws = compiled_draws(plan.training.parallel.compile)
    with tf32, draws, process_group(device) as world, peers_alive(), Signals() as signals:
        fitting = _Fit(
            plan, named(source), Path(folder), seed, torch.device(device), evaluator, listeners, world, signals
        )
        return fitting.run(resume)


class _Fit:
    """One call of `fit`: what all its stages use."""

    def __init__(
        self,
        plan: Plan,
        sources: Sources,
        folder: Path,
        seed: int,
        device: torch.device,
        evaluator: Evaluator | None,
        listeners: Sequence[Listener],
        world: World,
        signals: Signals,
    ) -> None:
        if not sources or any(len(source) == 0 for source in sources.values()):
            raise TrainingError("There are no samples to train on.")
        expect_readers(plan.stages, sources)
        self.plan, self.sources, self.folder, self.seed, self.device = plan, sources, folder, seed, device
        self.evaluator, self.world, self.signals = evaluator, world, signals
        self.listeners = listeners if world.first else ()
        self.options = plan.training
        self.dtype = plan.training.parallel.dtype
        self.ends: dict[str, int] = {}
        self.asked = False
        for stage in plan.stages:
            for player in stage.players:
                for module in (player.objective, *player.networks):
                    move_module(module, device, self.dtype)
        self.sharded = shard(plan, world, device)
        if plan.training.parallel.compile:
            compile_networks(plan)
        samples = {name: len(source) for name, source in sources.items()}
        self.state = SavedState(plan, digest(plan, seed, samples), folder, world)
        self.averages = self.state.averages

    def run(self, resume: bool) -> Outcome:
        content = self.state.open(resume=resume)
        position = Position.of(content, self.plan)
        self.ends = dict(content.get("ends", {}))
        self.sources = resident(self.sources, self.device, self.options.resident_bytes)
        self.clock = Clock(self.options.max_minutes, content.get("seconds", 0.0))
        self.losses: LossFile | None = None
        if self.world.first:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.losses = LossFile(self.folder / FILE, content.get("losses"))
        try:
            for number, stage in enumerate(self.plan.stages[position.stage :], position.stage):
                start = position if number == position.stage else Position(number)
                self._stage(stage, start)
        finally:
            if self.losses is not None:
                self.losses.close()
        return Outcome(dict(self.ends), self.clock.spent / 60)

    def _stage(self, stage: ScheduledStage, position: Position) -> None:
        """Train one stage from a position in it."""
        if position.fresh and stage.stage.prepare is not None:
            stage.stage.prepare()
        trainers = [
            PlayerTrainer(stage, player, self.plan, self.world, self.device, self.seed) for player in stage.players
        ]
        self.averages.begin([(trainer.parameters, stage.averages[trainer.player.name]) for trainer in trainers])
        if not position.fresh:
            self.state.open_stage(trainers)
        seconds = self.clock.begin(
            [stage.steps - position.step, *(later.steps for later in self.plan.stages[position.stage + 1 :])]
        )
        for listener in self.listeners:
            listener.stage(stage.name, stage.steps)
        with requires_grad_restored(trainers):
            pace = Pace(position.step, stage.steps, self.device, seconds)
            signalled = self._steps(stage, position, trainers, pace)
        self.averages.end()
        last = position.stage + 1 == len(self.plan.stages)
        if last:
            self.averages.finish()
        self._save(Position(position.stage + 1), ())
        if self.world.any(signalled or self.asked)[0] and not last:
            self._interrupt(self.ends[stage.name], stage.name)

    def _steps(self, stage: ScheduledStage, position: Position, trainers: Sequence[PlayerTrainer], pace: Pace) -> bool:
        """Take the steps of a stage from a position in it; return whether to stop before the next one."""
        turns = [trainer for trainer in trainers for _ in range(trainer.player.turns)]
        with one_thread() as beside:
            draws = Draws(self.sources, stage, [trainer.player for trainer in turns], self.seed, beside)
            with Feed(draws, turns, stage.steps, self.device) as feed:
                return self._take(stage, position, trainers, turns, feed, pace)

    def _take(
        self,
        stage: ScheduledStage,
        position: Position,
        trainers: Sequence[PlayerTrainer],
        turns: Sequence[PlayerTrainer],
        feed: Feed,
        pace: Pace,
    ) -> bool:
        step, last, signalled = position.step, False, False
        while not last:
            for turn, trainer in enumerate(turns):
                if turn < position.turn and step == position.step:
                    continue  # taken before the checkpoint that is resumed
                if len(trainers) > 1 or step == position.step:
                    freeze_others(trainers, trainer)
                number = step * trainer.player.turns + turns[:turn].count(trainer)
                share = feed.turn(step, turn)
                try:
                    trainer.step(share, number, step)
                except NotFinite as fault:
                    if not fault.weights_changed:
                        self._save(Position(position.stage, step, turn), trainers)
                    raise
                pace.add(trainer.player.name, share.samples)
                reshard(self.sharded)
            self.averages.update(step)
            step += 1
            stop = self.signals.received > 0 or self.asked
            signalled, over = self.world.any(stop, self.world.first and self.clock.over)
            last = step == stage.steps or over
            if last or step % self.options.log_every == 0:
                for trainer in trainers:
                    self._log(trainer, step, pace)
            if self.evaluator is not None and (last or step % self.evaluator.every == 0):
                feed.settle()  # the evaluator may read the same files
                self._evaluate(self.evaluator, stage, trainers, step)
            if not last and (signalled or step % self.options.checkpoint.every == 0):
                self._save(Position(position.stage, step), trainers)
            if signalled and not last:
                self._interrupt(step, stage.name)

        for trainer in trainers:
            trainer.finite.raise_pending()
        self.ends[stage.name] = step
        return signalled

    def _log(self, trainer: PlayerTrainer, step: int, pace: Pace) -> None:
        trainer.finite.raise_pending()
        stage, player = trainer.stage.name, trainer.player.name
        metrics = {**trainer.sums.means(), "lr": trainer.learning_rate(step - 1), **pace.measure(player, step)}
        self._write({"stage": stage, "player": player, "step": step, **metrics})

    def _write(self, row: Mapping[str, Any]) -> None:
        if self.losses is not None:
            self.losses.write(row)
            for listener in self.listeners:
                self.asked |= bool(listener.row(row))

    def _evaluate(
        self, evaluator: Evaluator, stage: ScheduledStage, trainers: Sequence[PlayerTrainer], step: int
    ) -> None:
        for trainer in trainers:
            trainer.finite.raise_pending()

        def noise(index: Tensor) -> KeyedNoise:
            return KeyedNoise(self.seed, index.to(self.device), "evaluate", step, self.dtype)

        networks = [network for trainer in trainers for network in trainer.player.networks]
        with evaluating(networks), self.averages.swapped():
            metrics = evaluator(noise)
        reshard(self.sharded)
        self._write({"stage": stage.name, "player": "evaluation", "step": step, **self.world.broadcast(dict(metrics))})

    def _save(self, position: Position, trainers: Sequence[PlayerTrainer]) -> None:
        for trainer in trainers:
            trainer.finite.raise_pending()
        if self.losses is not None:
            self.losses.sync()
        counters = {
            "ends": self.ends,
            "seconds": self.clock.spent,
            "losses": self.losses.position if self.losses is not None else None,
        }
        total = sum(self.ends.values()) + position.step
        if self.state.save(position, trainers, counters, total=total):
            for listener in self.listeners:
                listener.checkpoint(total)

    def _interrupt(self, step: int, stage: str) -> None:
        who = "A listener" if self.asked else "A signal"
        raise Interrupted(
            f'{who} ended the fit after step {step} of stage "{stage}"; its state is saved: go on with --resume.'
        )
