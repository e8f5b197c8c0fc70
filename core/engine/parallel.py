"""Networks of processes that train together: replicated or sharded.

Under `ddp` every process holds all weights. Under `fsdp` each network is sharded over the processes (FSDP2, Zhao et
al., "PyTorch FSDP", VLDB 2023). A block of a network whose class has `fsdp_unit = True` is a unit of its own, so that a
process gathers the weights of one block at a time; its weights are used by its `forward` alone. With one process both
are the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from ..errors import TrainingError
from ..objective import Objective
from .plan import Plan
from .world import World


def shard(plan: Plan, world: World, device: torch.device) -> list[FSDPModule]:
    """Shard the networks of a plan over all processes, in place, if its layout is `fsdp`; return the sharded ones.

    Raises:
        TrainingError: networks with double backward of which one contains the other, or an optimiser that needs
            whole gradients.

    >>> from maquette.core.engine.plan import ParallelConfig, TrainingConfig
    >>> from maquette.core.engine.world import ALONE
    >>> from maquette.core.families.flows.linear import LinearConfig
    >>> from maquette.core.spaces import Vector
    >>> training = TrainingConfig(parallel=ParallelConfig(kind="fsdp"))
    >>> plan = training.plan(LinearConfig().build(Vector(dim=2)).stages())
    >>> shard(plan, ALONE, torch.device("cpu"))  # one process keeps its networks whole
    []
    """
    if plan.training.parallel.kind != "fsdp" or world.size == 1:
        return []
    found = units(plan)
    mesh = init_device_mesh(device.type, (world.size,))
    cut = [fully_shard(unit, mesh=mesh, reshard_after_forward=True, ignored_params=_empty(unit)) for unit, _ in found]
    for unit, (_, double) in zip(cut, found, strict=True):
        unit.set_reshard_after_backward(not double, recurse=False)
    return cut


def _empty(network: nn.Module) -> set[nn.Parameter]:
    """Parameters without elements, which FSDP cannot shard."""
    return {parameter for parameter in network.parameters() if not parameter.numel()}


def units(plan: Plan) -> list[tuple[nn.Module, bool]]:
    """Networks to shard and their blocks, inner ones first as FSDP2 requires, and whether double backward goes through.

    A network through which double backward goes stays whole, because FSDP cannot unshard one unit within another for
    that.

    Raises:
        TrainingError: as `shard`.

    >>> from maquette.core.engine.plan import TrainingConfig
    >>> from maquette.core.families.autoregressive.transformer import TransformerConfig
    >>> from maquette.core.spaces import Sequence
    >>> model = TransformerConfig(width=4, depth=2, heads=2).build(Sequence(length=3, vocabulary=5))
    >>> [type(unit).__name__ for unit, _ in units(TrainingConfig().plan(model.stages()))]
    ['_Block', '_Block', 'Autoregressive']
    """
    networks: dict[int, tuple[nn.Module, bool]] = {}
    for stage in plan.stages:
        double = any(player.objective.double_backward for player in stage.players)
        for player in stage.players:
            where = f'stage "{stage.name}", player "{player.name}"'
            if stage.optimizers[player.name].kind == "lbfgs":
                raise TrainingError(f"{where}: lbfgs needs whole gradients; use training.parallel.kind=ddp.")
            for network in player.networks:
                if not any(parameter.numel() for parameter in network.parameters()):
                    continue  # all its state is in buffers, which every process has whole
                inner = {id(part) for part in network.modules() if part is not network}
                if double and any(id(other) in inner for other in player.networks):
                    raise TrainingError(
                        f"{where}: its stage differentiates through gradients and has a network within another one, "
                        "which FSDP cannot unshard for that; give only the outer network to the player, or use "
                        "training.parallel.kind=ddp."
                    )
                networks[id(network)] = (network, double or networks.get(id(network), (network, False))[1])
    within = {id(part) for network, double in networks.values() if double for part in network.modules()}
    blocks = {
        id(part): (part, False)
        for network, _ in networks.values()
        for part in network.modules()
        if getattr(part, "fsdp_unit", False) and id(part) not in within
    }
    return sorted((blocks | networks).values(), key=lambda unit: sum(1 for _ in unit[0].modules()))


def compile_networks(plan: Plan) -> None:
    """Compile the networks of a plan in place, but not those of players with double backward, which torch cannot.

    >>> from maquette.core.engine.plan import TrainingConfig
    >>> compile_networks(TrainingConfig().plan([]))  # of no stages
    """
    players = [player for stage in plan.stages for player in stage.players]
    double = {id(network) for player in players if player.objective.double_backward for network in player.networks}
    chosen = {id(network): network for player in players for network in player.networks if id(network) not in double}
    for network in chosen.values():
        network.compile()


def replicate(objective: Objective, plan: Plan, world: World) -> nn.Module:
    """Wrap an objective so that its backward averages gradients over processes, if the plan's layout is `ddp`.

    An objective without parameters that require gradients is returned as it is. Call it while
    the parameters of all other players are frozen. Buffers are not broadcast, so that the first process does not
    overwrite those of the others.

    >>> from maquette.core.engine.plan import TrainingConfig
    >>> from maquette.core.engine.world import ALONE
    >>> from maquette.core.families.flows.linear import LinearConfig
    >>> from maquette.core.spaces import Vector
    >>> plan = TrainingConfig().plan(LinearConfig().build(Vector(dim=2)).stages())
    >>> objective = plan.stages[0].players[0].objective
    >>> replicate(objective, plan, ALONE) is objective  # one process has nothing to average
    True
    """
    learns = any(parameter.requires_grad for parameter in objective.parameters())
    if plan.training.parallel.kind != "ddp" or world.size == 1 or not learns:
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
