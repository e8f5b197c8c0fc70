"""The processes of a fit: joining their group, and the operations that all of them call together.

`torchrun` or `srun` set the variables RANK, WORLD_SIZE, LOCAL_RANK and MASTER_ADDR of each process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import TrainingError

T = TypeVar("T")
_PATIENCE = timedelta(days=2)  # a process that dies breaks the connection at once
_LOST = (
    "onnection closed",
    "onnection reset",
    "onnection refused",
    "Broken pipe",
    "imed out",
    "imeout",
    "NCCL",
    "gloo",
)


@dataclass(frozen=True)
class World:
    """Rank and number of the processes of a fit.

    All processes must call its methods together. With one process these return what they are given.

    >>> world = World()
    >>> world.first, world.gather("value"), world.any(True, False)
    (True, ['value'], [True, False])
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def any(self, *flags: bool) -> list[bool]:
        """For each flag, whether it is set on any process; reduced on the CPU, so as not to wait for a device."""
        if self.size == 1:
            return list(flags)
        tensor = torch.tensor(flags, dtype=torch.int32)
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return [bool(flag) for flag in tensor.tolist()]

    def gather(self, value: T) -> list[T]:
        """The values of all processes, by rank."""
        values: list[T] = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(values, value)
        return values

    def broadcast(self, value: T) -> T:
        """The value of the first process."""
        box = [value]
        if self.size > 1:
            dist.broadcast_object_list(box, 0)
        return box[0]

    def once(self, work: Callable[[], T]) -> T:
        """What `work` returns on the first process, which does it while the others wait; its error is raised on all.

        >>> World().once(lambda: "read")
        'read'
        """
        if self.size == 1:
            return work()
        result: T | None = None
        error: Exception | None = None
        # a group of its own, because the work may take longer than the others would wait for a step
        group = cast(dist.ProcessGroup, dist.new_group(timeout=_PATIENCE, backend="gloo"))
        if self.first:
            try:
                result = work()
            except Exception as raised:
                error = raised
        box: list[Any] = [result, error]
        dist.broadcast_object_list(box, 0, group=group)
        dist.destroy_process_group(group)
        if box[1] is not None:
            raise box[1]
        return cast(T, box[0])

    def barrier(self) -> None:
        """Wait until all processes are here."""
        self.any(False)


ALONE = World()
"""The world of a single process."""


@contextmanager
def process_group(device: torch.device | str = "cpu", *, timeout: timedelta = timedelta(minutes=10)) -> Iterator[World]:
    """Join the process group that a launcher started, and yield the `World`; nested uses join once.

    A process that is killed closes its connections, which the others notice at once; `timeout` is for one that hangs.

    Raises:
        TrainingError: another process is gone.

    >>> with process_group("cpu") as world:  # here without a launcher
    ...     world
    World(rank=0, size=1)
    """
    if dist.is_initialized():
        yield World(dist.get_rank(), dist.get_world_size())
        return
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield World()
        return
    cuda = torch.device(device).type == "cuda"
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    with peers_alive():
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=timeout)
        yield World(dist.get_rank(), dist.get_world_size())
    dist.destroy_process_group()  # not after an error: it would wait for processes that may be gone


@contextmanager
def peers_alive() -> Iterator[None]:
    """Turn the backends' different errors about a lost connection into one `TrainingError`.

    >>> with peers_alive():
    ...     raise RuntimeError("Connection reset by peer")
    Traceback (most recent call last):
    maquette.core.errors.TrainingError: Another process of this fit is gone or does not answer: ...
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or any(mark in str(error) for mark in _LOST):
            raise TrainingError(
                "Another process of this fit is gone or does not answer: look for its error above, then start all of "
                f"them again with --resume. ({str(error).splitlines()[0]})"
            ) from error
        raise
