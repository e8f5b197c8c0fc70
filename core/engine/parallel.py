"""Processes that train together: their process group, data parallelism, sharding and collective operations.

`torchrun` or `srun` set the variables RANK, WORLD_SIZE, LOCAL_RANK and MASTER_ADDR of each process. Under `ddp` every
process holds all weights. Under `fsdp` each network is sharded over the processes (FSDP2, Zhao et al., "PyTorch FSDP",
VLDB 2023). With one process both are the same.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from ..errors import TrainingError
from ..objective import Objective
from .plan import Plan

T = TypeVar("T")
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


def shard(plan: Plan, world: World, device: torch.device) -> list[FSDPModule]:
    """Shard the networks of a plan over all processes, in place, if its layout is `fsdp`; return the sharded ones.

    Raises:
        TrainingError: networks with double backward of which one contains the other, or an optimiser that needs
            whole gradients.

    >>> from maquette.core.engine.plan import ParallelConfig, TrainingConfig
    >>> from maquette.core.families.flows.linear import LinearConfig
    >>> from maquette.core.spaces import Vector
    >>> training = TrainingConfig(parallel=ParallelConfig(kind="fsdp"))
    >>> plan = training.plan(LinearConfig().build(Vector(dim=2)).stages())
    >>> shard(plan, ALONE, torch.device("cpu"))  # one process keeps its networks whole
    []
    """
    if plan.training.parallel.kind != "fsdp" or world.size == 1:
        return []
    units = _units(plan)
    mesh = init_device_mesh(device.type, (world.size,))
    cut = [
        fully_shard(network, mesh=mesh, reshard_after_forward=True, ignored_params=_empty(network))
        for network, _ in units
    ]
    for network, (_, double) in zip(cut, units, strict=True):
        network.set_reshard_after_backward(not double)
    return cut


def _empty(network: nn.Module) -> set[nn.Parameter]:
    """Parameters without elements, which FSDP cannot shard."""
    return {parameter for parameter in network.parameters() if not parameter.numel()}


def _units(plan: Plan) -> list[tuple[nn.Module, bool]]:
    """Networks to shard, inner ones first as FSDP2 requires, and whether double backward goes through them."""
    units: dict[int, tuple[nn.Module, bool]] = {}
    for stage in plan.stages:
        double = any(player.objective.double_backward for player in stage.players)
        for player in stage.players:
            where = f'stage "{stage.name}", player "{player.name}"'
            if stage.optimizers[player.name].kind == "lbfgs":
                raise TrainingError(f"{where}: lbfgs needs whole gradients; use training.parallel.kind=ddp.")
            for network in player.networks:
                inner = {id(part) for part in network.modules() if part is not network}
                if double and any(id(other) in inner for other in player.networks):
                    raise TrainingError(
                        f"{where}: its stage differentiates through gradients and has a network within another one, "
                        "which FSDP cannot unshard for that; give only the outer network to the player, or use "
                        "training.parallel.kind=ddp."
                    )
                units[id(network)] = (network, double or units.get(id(network), (network, False))[1])
    return sorted(units.values(), key=lambda unit: sum(1 for _ in unit[0].modules()))


def replicate(objective: Objective, plan: Plan, world: World) -> nn.Module:
    """Wrap an objective so that its backward averages gradients over processes, if the plan's layout is `ddp`.

    Call it while the parameters of all other players are frozen. Buffers are not broadcast, so that the first process
    does not overwrite those of the others.

    >>> from maquette.core.engine.plan import TrainingConfig
    >>> from maquette.core.families.flows.linear import LinearConfig
    >>> from maquette.core.spaces import Vector
    >>> plan = TrainingConfig().plan(LinearConfig().build(Vector(dim=2)).stages())
    >>> objective = plan.stages[0].players[0].objective
    >>> replicate(objective, plan, ALONE) is objective  # one process has nothing to average
    True
    """
    if plan.training.parallel.kind != "ddp" or world.size == 1:
        return objective
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # older torch lacks the new name
        return DistributedDataParallel(objective, broadcast_buffers=False, gradient_as_bucket_view=True)


def no_sync(module: nn.Module) -> AbstractContextManager[None]:
    """Inside this context, backward accumulates gradients without reducing them over processes.

    >>> layer = nn.Linear(1, 1, bias=False)
    >>> for last in (False, True):  # two micro-batches; only the second one's backward would reduce
    ...     with nullcontext() if last else no_sync(layer):
    ...         layer(torch.ones(1, 1)).sum().backward()
    >>> layer.weight.grad
    tensor([[2.]])
    """
    return module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()


def full_state_dict(module: nn.Module) -> dict[str, Tensor]:
    """Return the state of a module, every tensor whole and on the CPU.

    All processes must call it together; the first gets the tensors, the others an empty dictionary.

    >>> sorted(full_state_dict(nn.Linear(2, 1)))
    ['bias', 'weight']
    """
    state = get_model_state_dict(module, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    return {name: tensor for name, tensor in state.items() if isinstance(tensor, Tensor)}


def full_tensor(tensor: Tensor) -> Tensor:
    """The whole tensor of which this is a shard; other tensors are returned as they are.

    >>> tensor = torch.ones(2)
    >>> full_tensor(tensor) is tensor, to_local(tensor) is tensor  # neither is a shard
    (True, True)
    """
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def to_local(tensor: Tensor) -> Tensor:
    """The local part of a shard, in the same memory; other tensors are returned as they are."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def reshard(networks: Sequence[FSDPModule]) -> None:
    """Free the gathered copies of weights: an optimiser step or an average has made them out of date.

    >>> reshard([])  # what `shard` returns for one process
    """
    for network in networks:
        network.reshard()
