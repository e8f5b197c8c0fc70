"""The state of a fit on disk: what a checkpoint contains of it, and how the fit goes on from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import TrainingError
from .averages import Averages
from .checkpoint import FOLDER, Checkpoints
from .plan import Plan
from .state import Position, load_optimizer, model_tensors, optimizer_tensors, pack
from .sums import StepSums
from .trainer import PlayerTrainer
from .world import World

_KEYS = {"position", "digest", "optimizers", "aside", "sums"}


class SavedState:
    """Saves and loads weights, averages, optimisers and counters of one fit.

    Args:
        plan: its objectives and networks are already on the device, in the dtype and the layout of the fit.
        digest: of what decides the result; a checkpoint with another one is refused.
        folder: of the fit.
        world: of all processes, which call the methods together.

    Attributes:
        averages: of the weights.

    >>> import tempfile
    >>> from maquette.core.engine.plan import TrainingConfig
    >>> from maquette.core.families.flows.linear import LinearConfig
    >>> from maquette.core.spaces import Vector
    >>> plan = TrainingConfig().plan(LinearConfig().build(Vector(dim=2)).stages())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     state = SavedState(plan, "of the example", folder, World())
    ...     state.open(resume=True)
    ...     state.save(Position(step=3), (), {"seconds": 1.5}, total=3)
    ...     state.open(resume=True)["seconds"]
    {}
    True
    1.5
    """

    def __init__(self, plan: Plan, digest: str, folder: Path | str, world: World) -> None:
        self.folder, self.digest = Path(folder), digest
        self.model = model_tensors(plan)
        self.averages = Averages(self.model)
        self.checkpoints = Checkpoints(self.folder, plan.training.checkpoint.keep, world)
        self._opened: tuple[str, Mapping[str, Any]] | None = None

    def open(self, *, resume: bool) -> Mapping[str, Any]:
        """Load the weights of the newest checkpoint, and return its content; nothing if there is none.

        Raises:
            TrainingError: there is one, and the fit is not to be resumed; or it was saved by another fit, or lacks
                something.
        """
        self.checkpoints.clean()
        self._opened = self.checkpoints.newest()
        if self._opened is None:
            return {}
        name, content = self._opened
        if missing := _KEYS - set(content):
            raise TrainingError(
                f"{self.checkpoints.folder / name}: holds no {', '.join(sorted(missing))}; remove the folder to fall "
                "back on the checkpoint before it."
            )
        if not resume:
            raise TrainingError(
                f"{self.folder}: holds a fit already ({FOLDER}/{name}); go on with --resume, or choose another folder."
            )
        if content["digest"] != self.digest:
            raise TrainingError(
                f"{self.folder}: its checkpoint was saved with another config, seed or data set; resume with the same "
                "ones (steps, batch size, optimisers, precision), or fit anew in another folder."
            )
        model = {key: tensor.detach() for key, tensor in self.model.items()}
        self.checkpoints.load(name, content, model | self.averages.restore(content["aside"]))
        return content

    def open_stage(self, trainers: Sequence[PlayerTrainer]) -> None:
        """Load optimisers, averages and sums of the stage in which the checkpoint was taken."""
        assert self._opened is not None
        name, content = self._opened
        packed = {trainer: content["optimizers"][trainer.player.name] for trainer in trainers}
        allocated = {
            trainer: optimizer_tensors(packed[trainer], trainer.named, content["tensors"]) for trainer in trainers
        }
        tensors = {key: tensor for part in allocated.values() for key, tensor in part.items()}
        self.checkpoints.load(name, content, tensors | self.averages.tensors())
        for trainer in trainers:
            if trainer.optimizer is not None:
                load_optimizer(trainer.optimizer, packed[trainer], trainer.named, allocated[trainer])
            trainer.sums = StepSums.parse(content["sums"][trainer.player.name])

    def save(
        self, position: Position, trainers: Sequence[PlayerTrainer], counters: Mapping[str, Any], *, total: int
    ) -> bool:
        """Save a checkpoint, unless there is one of this position already; return whether it was.

        Args:
            position: in the plan.
            trainers: of the stage; none between two stages.
            counters: plain JSON, which `open` returns among others.
            total: steps of all stages so far, which name the checkpoint.
        """
        tensors = {name: tensor.detach() for name, tensor in self.model.items()}
        packed = {
            trainer.player.name: pack(trainer.optimizer_state(), f"optimizer/{trainer.player.name}", tensors)
            for trainer in trainers
        }
        tensors |= self.averages.tensors() | self.averages.kept()
        content = {
            **counters,
            "position": vars(position),
            "digest": self.digest,
            "optimizers": packed,
            "aside": list(self.averages.aside),
            "sums": {trainer.player.name: trainer.sums.dump() for trainer in trainers},
        }
        return self.checkpoints.save(total, position.turn, tensors, content)
