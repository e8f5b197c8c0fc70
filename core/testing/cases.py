"""A fit of any family, for the laws of training: a plan and a source that other processes can build.

    def test_my_family_trains_alike_on_two_processes(tmp_path):
        case = training_case(MyConfig(), Vector(dim=5), Vector(dim=2))
        assert_processes_do_not_matter(*case, tmp_path, stop=STEPS // 2)

A family is found by its kind, so a third party's must be registered by an entry point.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from pydantic import TypeAdapter

from ..config import parse
from ..data import TensorSource
from ..engine.plan import CheckpointConfig, OptimizerConfig, ParallelConfig, Plan, TrainingConfig
from ..families import FamilyConfig, families
from ..objective import Stage, Trainable
from ..spaces import Space
from .bench import draw
from .worker import MakePlan, MakeSource

STEPS = 15
"""Steps of a fit, split between the model's stages."""
SAMPLES, BATCH = 45, 11
"""Four whole batches, and one of a single sample: one of two processes then has none."""

_space: TypeAdapter[Any] = TypeAdapter(Space)
Json = dict[str, Any]


def training_case(config: FamilyConfig, space: Space, condition: Space | None) -> tuple[MakePlan, MakeSource]:
    """The plan of a family's fit, and samples of the space.

    >>> from maquette.core.families.flows.coupling import CouplingConfig
    >>> from maquette.core.spaces import Vector
    >>> make_plan, make_source = training_case(CouplingConfig(), Vector(dim=5), None)
    >>> make_source().fetch(torch.arange(3)).x.shape
    torch.Size([3, 5])
    """
    spaces = _json(space), None if condition is None else _json(condition)
    return partial(_family_plan, config.model_dump(mode="json"), *spaces), partial(_family_source, *spaces)


def _json(space: Space) -> Json:
    return space.model_dump(mode="json")


def steps_of(stages: Sequence[Stage]) -> int:
    """Steps of each stage of a fit.

    >>> from maquette.core.families.flows.linear import LinearConfig
    >>> from maquette.core.spaces import Vector
    >>> steps_of(LinearConfig().build(Vector(dim=2)).stages())  # all steps for the only stage
    15
    """
    return math.ceil(STEPS / len(stages))


def _family_plan(config: Json, space: Json, condition: Json | None, parallel: ParallelConfig) -> Plan:
    """A short fit with every option of the engine that changes numbers."""
    family = parse(families.get(config["kind"]), config)
    torch.manual_seed(1)
    model = family.build(_space.validate_python(space), _space.validate_python(condition) if condition else None)
    assert isinstance(model, Trainable)
    stages = model.stages()
    training = TrainingConfig(
        steps=steps_of(stages),
        batch_size=BATCH,
        optimizer=OptimizerConfig(lr=1e-3, clip=1.0, warmup=3),
        ema_decay=0.9,
        log_every=1,
        checkpoint=CheckpointConfig(every=STEPS),
        parallel=parallel,
    )
    return training.plan(stages)


def _family_source(space: Json, condition: Json | None) -> TensorSource:
    """Arbitrary samples and conditions, the same at every call."""
    conditions = None if condition is None else draw(_space.validate_python(condition), SAMPLES, seed=2)
    return TensorSource(draw(_space.validate_python(space), SAMPLES, seed=1), conditions)
