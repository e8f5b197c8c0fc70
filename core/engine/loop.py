"""The training loop: one path for one process, DDP and FSDP2, for one role or several.

A fit is a sequence of stages; in a step of a stage every role takes its turns; a turn is one optimiser step over a
batch of its own. Batches and noise are functions of (seed, position), so nothing but weights, optimisers and
counters must be remembered, and a fit that is resumed goes on bit for bit as if it had never stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data import Source
from ..errors import Interrupted, TrainingError
from ..noise import KeyedNoise
from .checkpoint import FOLDER, Checkpoints
from .clock import Clock
from .ema import Average
from .evaluate import Evaluator, evaluating
from .listeners import Listener
from .losses import FILE, LossFile
from .order import Order
from .parallel import World, joined, peers_alive, reshard, shard
from .plan import Plan, Stage
from .player import DTYPES, Player, Tally, give_turn, turns_taken
from .signals import Signals
from .state import Position, digest, load_optimizer, model_tensors, optimizer_tensors, pack
from .watch import NotFinite

__all__ = ["Interrupted", "Outcome", "fit"]


@dataclass(frozen=True)
class Outcome:
    """How a fit ended.

    Attributes:
        steps: taken by each act; fewer than planned if the time was up.
        minutes: spent, over all resumes.
    """

    steps: dict[str, int]
    minutes: float


def fit(
    plan: Plan,
    source: Source,
    folder: Path | str,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    resume: bool = False,
    evaluator: Evaluator | None = None,
    listeners: Sequence[Listener] = (),
) -> Outcome:
    """Train the networks of a plan in place.

    The folder gets `losses.jsonl` and `checkpoints/`. Networks and objectives are moved to the device and the dtype
    of the plan; parts of the model that no objective holds (a codec) must be there already. Under `fsdp` with several
    processes the networks stay cut afterwards: see `parallel.gathered`. SIGTERM and SIGUSR1 end the fit after
    the step in hand, with its state saved.

    Args:
        plan: stages of roles with their options.
        source: samples by global index; every process reads its share.
        folder: seen by all processes.
        seed: decides order and noise; the weights at the start are the caller's.
        device: "cpu", or "cuda" (each process takes its own by LOCAL_RANK).
        resume: go on from the newest checkpoint, or begin if there is none.
        evaluator: run with averaged weights every so many steps.
        listeners: follow the fit; called on the first process.

    Raises:
        TrainingError: the plan cannot run as asked, a loss is not finite, the disk is full, another process is gone.
        Interrupted: a signal came; the state is saved.
    """
    with joined(device) as world, peers_alive(), Signals() as signals:
        fitting = _Fit(plan, source, Path(folder), seed, torch.device(device), evaluator, listeners, world, signals)
        return fitting.run(resume)


class _Fit:
    """One call of `fit`: what its stages share."""

    def __init__(
        self,
        plan: Plan,
        source: Source,
        folder: Path,
        seed: int,
        device: torch.device,
        evaluator: Evaluator | None,
        listeners: Sequence[Listener],
        world: World,
        signals: Signals,
    ) -> None:
        if len(source) == 0:
            raise TrainingError("There are no samples to train on.")
        self.plan, self.source, self.folder, self.seed, self.device = plan, source, folder, seed, device
        self.evaluator, self.world, self.signals = evaluator, world, signals
        self.listeners = listeners if world.first else ()
        self.options = plan.training
        self.dtype = DTYPES[plan.training.parallel.precision]
        self.digest = digest(plan, seed, len(source))
        self.checkpoints = Checkpoints(folder, plan.training.checkpoint.keep, world)
        self.ends: dict[str, int] = {}
        for stage in plan.stages:
            for role in stage.act.roles:
                for module in (role.objective, *role.networks):
                    module.to(device, self.dtype)
        self.sharded = shard(plan, world, device)
        self._compile()
        self.model = model_tensors(plan)

    def _compile(self) -> None:
        if not self.options.parallel.compile:
            return
        roles = [role for stage in self.plan.stages for role in stage.act.roles]
        double = {id(network) for role in roles if role.objective.double_backward for network in role.networks}
        chosen = {id(network): network for role in roles for network in role.networks if id(network) not in double}
        for network in chosen.values():
            network.compile()

    def run(self, resume: bool) -> Outcome:
        self.checkpoints.clean()
        saved = self.checkpoints.newest()
        if saved is not None and not resume:
            raise TrainingError(
                f"{self.folder}: holds a fit already ({FOLDER}/{saved[0]}); "
                "go on with --resume, or choose another folder."
            )
        content = self._recall(*saved) if saved else {}
        position = Position(**content.get("position", {}))
        self.clock = Clock(self.options.max_minutes, content.get("seconds", 0.0))
        self.losses: LossFile | None = None
        if self.world.first:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.losses = LossFile(self.folder / FILE, content.get("losses", 0))
        try:
            for number, stage in enumerate(self.plan.stages[position.stage :], position.stage):
                here = position if number == position.stage else Position(number)
                self._stage(stage, here, None if here.fresh or saved is None else (saved[0], content))
        finally:
            if self.losses is not None:
                self.losses.close()
        return Outcome(dict(self.ends), self.clock.spent / 60)

    def _recall(self, name: str, content: Mapping[str, Any]) -> dict[str, Any]:
        if content["digest"] != self.digest:
            raise TrainingError(
                f"{self.folder}: its checkpoint was saved with another config, seed or data set; resume with the same "
                "ones (steps, batch size, optimisers, precision), or fit anew in another folder."
            )
        self.checkpoints.load(name, content, {key: tensor.detach() for key, tensor in self.model.items()})
        self.ends = dict(content["ends"])
        return dict(content)

    def _stage(self, stage: Stage, position: Position, saved: tuple[str, Mapping[str, Any]] | None) -> None:
        """Train one stage from a position in it."""
        act = stage.act
        if saved is None and act.prepare is not None:
            act.prepare()
        players = [Player(stage, role, self.plan, self.world, self.device, self.seed) for role in act.roles]
        own = [parameter for player in players for parameter in player.parameters]
        average = Average(own, stage.average) if stage.average else None
        if saved is not None:
            self._recall_stage(*saved, players, average)
        self.clock.begin(
            [stage.steps - position.step, *(later.steps for later in self.plan.stages[position.stage + 1 :])]
        )
        for listener in self.listeners:
            listener.stage(act.name, stage.steps)
        with turns_taken(players):
            asked = self._steps(stage, position, players, average)
        if average is not None:
            average.adopt()
        self._save(Position(position.stage + 1), (), None)
        if asked and position.stage + 1 < len(self.plan.stages):
            self._interrupt(self.ends[act.name], act.name)

    def _steps(self, stage: Stage, position: Position, players: Sequence[Player], average: Average | None) -> bool:
        """Take the steps of a stage from a position in it, and note its last; return whether a signal came."""
        act = stage.act
        turns = [player for player in players for _ in range(player.role.turns)]
        order = Order(len(self.source), stage.batch_size, self.seed)
        step, last, asked = position.step, False, False
        while not last:
            for turn, player in enumerate(turns):
                if turn < position.turn and step == position.step:
                    continue  # taken before the checkpoint that is resumed
                if len(players) > 1 or step == position.step:
                    give_turn(players, player)
                draw = step * len(turns) + turn
                number = step * player.role.turns + turns[:turn].count(player)
                try:
                    player.step(self.source, order.batch(draw), number, step)
                except NotFinite as fault:
                    if not fault.spoilt:
                        self._save(Position(position.stage, step, turn), players, average)
                    raise
                reshard(self.sharded)
            if average is not None:
                average.update(step)
            step += 1
            asked, over = self.world.any(self.signals.received > 0, self.world.first and self.clock.over)
            last = step == stage.steps or over
            if last or step % self.options.log_every == 0:
                for player in players:
                    self._log(player, step)
            if self.evaluator is not None and (last or step % self.evaluator.every == 0):
                self._evaluate(self.evaluator, stage, players, average, step)
            if not last and (asked or step % self.options.checkpoint.every == 0):
                self._save(Position(position.stage, step), players, average)
            if asked and not last:
                self._interrupt(step, act.name)

        for player in players:
            player.watch.settle()
        self.ends[act.name] = step
        return asked

    def _log(self, player: Player, step: int) -> None:
        player.watch.settle()
        act, role = player.stage.act.name, player.role.name
        self._write({"act": act, "role": role, "step": step, **player.tally.means(), "lr": player.rate(step - 1)})

    def _write(self, row: Mapping[str, Any]) -> None:
        if self.losses is not None:
            self.losses.write(row)
            for listener in self.listeners:
                listener.row(row)

    def _evaluate(
        self, evaluator: Evaluator, stage: Stage, players: Sequence[Player], average: Average | None, step: int
    ) -> None:
        for player in players:
            player.watch.settle()

        def noise(index: Tensor) -> KeyedNoise:
            return KeyedNoise(self.seed, index.to(self.device), "evaluate", step, self.dtype)

        networks = [network for player in players for network in player.role.networks]
        with evaluating(networks), average.swapped() if average else nullcontext():
            figures = evaluator(noise)
        reshard(self.sharded)
        self._write({"act": stage.act.name, "role": "evaluation", "step": step, **self.world.decide(dict(figures))})

    def _save(self, position: Position, players: Sequence[Player], average: Average | None) -> None:
        for player in players:
            player.watch.settle()
        tensors = {name: tensor.detach() for name, tensor in self.model.items()}
        packed = {
            player.role.name: pack(player.optimizer.state_dict()["state"], f"optimizer/{player.role.name}", tensors)
            for player in players
        }
        if average is not None:
            tensors |= {f"average/{i}": tensor for i, tensor in enumerate(average.tensors)}
        if self.losses is not None:
            self.losses.sync()
        content = {
            "position": vars(position),
            "ends": self.ends,
            "digest": self.digest,
            "seconds": self.clock.spent,
            "losses": self.losses.length if self.losses is not None else 0,
            "optimizers": packed,
            "tallies": {player.role.name: player.tally.dump() for player in players},
        }
        total = sum(self.ends.values()) + position.step
        if self.checkpoints.save(total, position.turn, tensors, content):
            for listener in self.listeners:
                listener.checkpoint(total)

    def _recall_stage(
        self, name: str, content: Mapping[str, Any], players: Sequence[Player], average: Average | None
    ) -> None:
        """Load what belongs to the stage in hand: optimisers and averaged weights."""
        packed = {player: content["optimizers"][player.role.name] for player in players}
        room = {player: optimizer_tensors(packed[player], player.parameters, content["tensors"]) for player in players}
        tensors = {key: tensor for part in room.values() for key, tensor in part.items()}
        if average is not None:
            tensors |= {f"average/{i}": tensor for i, tensor in enumerate(average.tensors)}
        self.checkpoints.load(name, content, tensors)
        for player in players:
            load_optimizer(player.optimizer, packed[player], room[player])
            player.tally = Tally.parse(content["tallies"][player.role.name])

    def _interrupt(self, step: int, act: str) -> None:
        raise Interrupted(
            f'A signal ended the fit after step {step} of act "{act}"; its state is saved: go on with --resume.'
        )
