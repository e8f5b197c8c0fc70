"""What a checkpoint contains: named tensors of a fit, and the rest of an optimiser's state as plain JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from ..errors import TrainingError
from .plan import Plan


@dataclass(frozen=True)
class Position:
    """How far a fit is: the number of its stage, the steps taken in it, and the turns taken in the next step.

    >>> Position(stage=1).fresh, Position(stage=1, step=3).fresh
    (True, False)
    """

    stage: int = 0
    step: int = 0
    turn: int = 0

    @property
    def fresh(self) -> bool:
        """Whether the stage has not begun."""
        return self.step == 0 and self.turn == 0

    @classmethod
    def of(cls, content: Mapping[str, Any], plan: Plan) -> Position:
        """The position in the content of a checkpoint; the beginning, if there is no checkpoint.

        >>> from types import SimpleNamespace
        >>> Position.of({"position": {"stage": 99}}, SimpleNamespace(stages=()))
        Traceback (most recent call last):
        maquette.core.errors.TrainingError: checkpoint: expected a position in the 0 stages of the plan, found...

        Raises:
            TrainingError: the plan has no such position.
        """
        found = content.get("position", {})
        if isinstance(found, dict) and set(found) <= {"stage", "step", "turn"}:
            position = cls(**found)
            if all(type(number) is int and number >= 0 for number in found.values()) and position.within(plan):
                return position
        raise TrainingError(
            f"checkpoint: expected a position in the {len(plan.stages)} stages of the plan, found {found!r:.100}; "
            "remove its folder to fall back on the checkpoint before it."
        )

    def within(self, plan: Plan) -> bool:
        """Whether a plan has this position, its end included."""
        if self.stage >= len(plan.stages):
            return self.stage == len(plan.stages) and self.fresh
        stage = plan.stages[self.stage]
        return self.step < stage.steps and self.turn < sum(player.turns for player in stage.players)


def model_tensors(plan: Plan) -> dict[str, Tensor]:
    """All parameters and persistent buffers that the plan's objectives and networks hold.

    A tensor that several players share is listed once, under the name of the first.

    >>> from maquette.core.engine.plan import TrainingConfig
    >>> from maquette.core.families.flows.linear import LinearConfig
    >>> from maquette.core.spaces import Vector
    >>> plan = TrainingConfig().plan(LinearConfig().build(Vector(dim=2)).stages())
    >>> next(iter(model_tensors(plan))).startswith("model/fit/model/0/")
    True
    """
    named: dict[str, Tensor] = {}
    known: set[int] = set()
    for stage in plan.stages:
        for player in stage.players:
            for position, module in enumerate((player.objective, *player.networks)):
                for name, tensor in module.state_dict(keep_vars=True).items():
                    if isinstance(tensor, Tensor) and id(tensor) not in known:
                        known.add(id(tensor))
                        named[f"model/{stage.name}/{player.name}/{position}/{name}"] = tensor
    return named


def digest(plan: Plan, seed: int, samples: Mapping[str, int]) -> str:
    """Digest of all options that decide the result of a fit, hexadecimal SHA-256.

    Args:
        plan: what is fitted.
        seed: the run's seed.
        samples: number of samples by source.

    Options that may change when a fit is resumed are left out: the layout over processes, the size of micro-batches,
    when checkpoints are taken, and the time budget.

    >>> from maquette.core.engine.plan import TrainingConfig
    >>> from maquette.core.families.flows.linear import LinearConfig
    >>> from maquette.core.spaces import Vector
    >>> stages = LinearConfig().build(Vector(dim=2)).stages()
    >>> digests = [
    ...     digest(TrainingConfig(steps=steps, micro_batch=micro_batch).plan(stages), seed=0, samples={"": 100})
    ...     for steps, micro_batch in ((10, None), (10, 4), (20, None))
    ... ]
    >>> [other == digests[0] for other in digests[1:]]
    [True, False]
    """
    training = plan.training
    stages = [
        {
            "stage": stage.name,
            "players": [(player.name, player.turns, player.sources) for player in stage.players],
            "steps": stage.steps,
            "batch_size": stage.batch_size,
            "averages": {name: options.model_dump(mode="json") for name, options in stage.averages.items()},
            "optimizers": {name: options.model_dump(mode="json") for name, options in stage.optimizers.items()},
        }
        for stage in plan.stages
    ]
    shared = {"precision": training.parallel.precision, "log_every": training.log_every}
    content = json.dumps([seed, samples, shared, stages], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Move the tensors of nested state into `tensors` by name; return the rest as JSON that refers to them.

    >>> tensors = {}
    >>> packed = pack({"step": 3, "moment": torch.ones(2)}, "adam", tensors)
    >>> packed, tensors
    ({'map': [['step', {'value': 3}], ['moment', {'tensor': 'adam/moment'}]]}, {'adam/moment': tensor([1., 1.])})
    >>> unpack(packed, tensors.__getitem__)
    {'step': 3, 'moment': tensor([1., 1.])}
    """
    if isinstance(value, Tensor):
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"map": [[key, pack(item, f"{name}/{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [pack(item, f"{name}/{i}", tensors) for i, item in enumerate(value)]}
    return {"value": value}


def unpack(packed: Any, tensor: Callable[[str], Tensor]) -> Any:
    """Inverse of `pack`; `tensor` returns the tensor of a name."""
    kind, content = next(iter(packed.items()))
    if kind == "tensor":
        return tensor(content)
    if kind == "map":
        return {key: unpack(item, tensor) for key, item in content}
    return [unpack(item, tensor) for item in content] if kind == "list" else content


def optimizer_tensors(
    packed: Any, parameters: Mapping[str, nn.Parameter], index: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Allocate the tensors of an optimiser's saved state; those with the shape of a sharded parameter are sharded, too.

    Args:
        packed: what `pack` returned for the optimiser's state, whose keys are the names of parameters.
        parameters: of the optimiser, by name.
        index: the checkpoint's list of tensors, with "size" and "dtype" of each.

    >>> packed = {"map": [["bias", {"map": [["moment", {"tensor": "adam/bias/moment"}]]}]]}
    >>> index = {"adam/bias/moment": {"size": [2], "dtype": "torch.float32"}}
    >>> allocated = optimizer_tensors(packed, {"bias": nn.Parameter(torch.ones(2))}, index)
    >>> {name: tuple(tensor.shape) for name, tensor in allocated.items()}  # their values are read next
    {'adam/bias/moment': (2,)}
    """
    allocated: dict[str, Tensor] = {}
    for parameter, content in packed["map"]:
        like = parameters[parameter]

        def make(name: str, like: nn.Parameter = like) -> Tensor:
            size, dtype = index[name]["size"], getattr(torch, index[name]["dtype"].removeprefix("torch."))
            cut = isinstance(like, DTensor) and size == list(like.shape)
            allocated[name] = (
                torch.empty_like(like, dtype=dtype) if cut else torch.empty(size, dtype=dtype, device=like.device)
            )
            return allocated[name]

        unpack(content, make)
    return {name: tensor.detach() for name, tensor in allocated.items()}


def load_optimizer(
    optimizer: Optimizer, packed: Any, parameters: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]
) -> None:
    """Give an optimiser its saved state, parameter by parameter; its options stay those of the config.

    Args:
        optimizer: of the parameters.
        packed: what `pack` returned for the state of an optimiser, whose keys are the names of parameters.
        parameters: by name, in any order.
        tensors: of the state, by name.

    >>> weight = nn.Parameter(torch.ones(2))
    >>> weight.grad = torch.ones(2)
    >>> optimizer, other = torch.optim.Adam([weight]), torch.optim.Adam([weight])
    >>> optimizer.step()
    >>> tensors = {}
    >>> packed = pack({"weight": optimizer.state[weight]}, "adam", tensors)
    >>> load_optimizer(other, packed, {"weight": weight}, tensors)
    >>> other.state[weight]["exp_avg"]
    tensor([0.1000, 0.1000])
    """
    for name, state in unpack(packed, lambda name: tensors[name]).items():
        optimizer.state[parameters[name]] = state
