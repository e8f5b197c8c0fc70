"""Checkpoints that survive kills: written under a temporary name, flushed and renamed; the last few are kept.

A checkpoint is a folder `step-XXXXXXXX` in `checkpoints/`, with the suffix `.KK` if it was taken after KK turns of the
next step. It appears by one rename, so at any moment it is whole or absent. What a killed process left behind (folders
`.step-XXXXXXXX.tmp` and `.old`) is removed when the next one starts. What else lies there, such as the files of a file
browser, is left alone, and so are symbolic links. `storage` describes the format.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from ..artifact import sync
from ..errors import TrainingError
from .storage import Reader, Writer, read_index
from .world import World

FOLDER = "checkpoints"
_NAME = re.compile(r"step-\d{8}(\.\d{2})?")
_LITTER = re.compile(rf"\.{_NAME.pattern}\.(tmp|old)")


class Checkpoints:
    """The checkpoints of one fit.

    Args:
        folder: of the fit, seen by all processes.
        keep: how many are kept.
        world: of all processes.

    >>> import tempfile
    >>> import torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoints = Checkpoints(Path(folder), keep=2, world=World())
    ...     for step in (10, 20, 30):
    ...         saved = checkpoints.save(step, 0, {"weight": torch.full((2,), float(step))}, {"step": step})
    ...     print(checkpoints.names())
    ...     (name, content), weight = checkpoints.newest(), torch.zeros(2)
    ...     checkpoints.load(name, content, {"weight": weight})
    ['step-00000020', 'step-00000030']
    >>> content["step"], weight
    (30, tensor([30., 30.]))
    """

    def __init__(self, folder: Path, keep: int, world: World) -> None:
        self.folder, self.keep, self.world = Path(folder) / FOLDER, keep, world

    def names(self) -> list[str]:
        """Names of the whole checkpoints, the oldest first."""
        return sorted(file.name for file in self._folders(_NAME))

    def _folders(self, name: re.Pattern[str]) -> list[Path]:
        """The folders of such a name, links left out."""
        if not self.folder.is_dir():
            return []
        return [
            file
            for file in self.folder.iterdir()
            if name.fullmatch(file.name) and file.is_dir() and not file.is_symlink()
        ]

    def clean(self) -> None:
        """Remove what a killed process left half done or had not yet removed."""
        if self.world.first:
            for folder in self._folders(_LITTER):
                shutil.rmtree(folder)
            self._prune()
        self.world.barrier()

    def save(self, step: int, turn: int, tensors: Mapping[str, Tensor], content: Mapping[str, Any]) -> bool:
        """Save the state after `step` steps and `turn` turns of the next; return False if it is there already.

        Args:
            tensors: whole tensors or shards, by name.
            content: plain JSON that goes with them.

        Raises:
            TrainingError: the disk is full or not writable; the checkpoints before are intact.
        """
        name = f"step-{step:08d}" + (f".{turn:02d}" if turn else "")
        if self.world.broadcast(name in self.names()):
            return False
        temporary = self.folder / f".{name}.tmp"
        try:
            if self.world.first:
                temporary.mkdir(parents=True)
            self.world.barrier()
            with _quiet():
                save(
                    dict(tensors),
                    storage_writer=Writer(temporary, self.world.rank, content),
                    planner=DefaultSavePlanner(flatten_state_dict=False, flatten_sharded_tensors=False),
                    no_dist=self.world.size == 1,
                )
            if self.world.first:
                sync(temporary)
                os.rename(temporary, self.folder / name)
                sync(self.folder)
                self._prune()
        except (OSError, CheckpointException) as error:
            if self.world.first:
                shutil.rmtree(temporary, ignore_errors=True)
            raise TrainingError(_failure(error, self.folder / name, self.names())) from error
        self.world.barrier()
        return True

    def _prune(self) -> None:
        for name in self.names()[: -self.keep]:
            aside = self.folder / f".{name}.old"  # a kill in the middle must not leave half a checkpoint
            os.rename(self.folder / name, aside)
            shutil.rmtree(aside)

    def newest(self) -> tuple[str, dict[str, Any]] | None:
        """Name and content of the newest checkpoint, if there is one; raises `TrainingError`."""
        name = self.world.broadcast(next(reversed(self.names()), None))
        return None if name is None else (name, read_index(self.folder / name))

    def load(self, name: str, content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Fill the given tensors (whole or shards) in place from a checkpoint, by name.

        Raises:
            TrainingError: a tensor is missing or has another shape, or a file is damaged.
        """
        try:
            with _quiet():
                load(
                    dict(tensors),
                    storage_reader=Reader(self.folder / name, content),
                    planner=DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False),
                    no_dist=self.world.size == 1,
                )
        except CheckpointException as error:
            reason = next(iter(error.failures.values()))[0]
            if isinstance(reason, TrainingError):
                raise reason from None
            raise TrainingError(
                f"{self.folder / name}: does not fit the model of this plan ({reason}); resume with the config it was "
                "saved with, or fit anew in another folder."
            ) from None


def _quiet() -> warnings.catch_warnings[None]:
    """Hide a warning that torch's distributed checkpoint gives whenever there is one process."""
    return warnings.catch_warnings(action="ignore", category=UserWarning)


def _failure(error: BaseException, target: Path, kept: list[str]) -> str:
    reason = next(iter(error.failures.values()))[0] if isinstance(error, CheckpointException) else error
    full = getattr(reason, "errno", None) == errno.ENOSPC or "os error 28" in str(reason)
    what = "the disk is full" if full else f"it could not be written ({reason})"
    last = f"the checkpoint {kept[-1]} is intact" if kept else "there is no earlier checkpoint"
    return f"{target}: {what}; {last}. Free some space or fix the cause, then go on with --resume."
