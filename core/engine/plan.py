"""What is to be trained: acts with their options, as a config and as the plan the loop follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from ..config import Config
from ..errors import ConfigError, did_you_mean
from ..objective import Act


class OptimizerConfig(Config):
    """How one role descends."""

    kind: Literal["adamw", "adam", "sgd", "lbfgs"] = "adamw"
    lr: float = Field(default=1e-3, gt=0, description="peak learning rate")
    betas: tuple[float, float] = Field(
        default=(0.9, 0.99), description="decay of the running moments; sgd takes the first as its momentum"
    )
    weight_decay: float = Field(default=0.0, ge=0)
    warmup: int = Field(default=0, ge=0, description="steps of linear warm-up")
    schedule: Literal["constant", "cosine"] = "cosine"
    final: float = Field(
        default=0.01, ge=0, le=1, description="learning rate at the last step, as a fraction of the peak"
    )
    clip: float | None = Field(default=None, gt=0, description="largest norm of the gradient")


class ActConfig(Config):
    """Options of one act; what is not set is taken from `TrainingConfig`."""

    steps: int | None = Field(default=None, ge=1)
    batch_size: int | None = Field(default=None, ge=1)
    optimizer: OptimizerConfig | None = None
    optimizers: dict[str, OptimizerConfig] = Field(default_factory=dict, description="by role, before `optimizer`")
    average: float | None = Field(default=None, ge=0, lt=1, description="decay of the averaged weights; 0 for none")


class ParallelConfig(Config):
    """How networks are laid over processes."""

    kind: Literal["ddp", "fsdp"] = "ddp"
    compile: bool = Field(default=False, description="compile networks in place (not those with double backward)")
    precision: Literal["float32", "bfloat16", "float64"] = "float32"


class CheckpointConfig(Config):
    """When the state of a fit is saved."""

    every: int = Field(default=500, ge=1, description="steps between checkpoints")
    keep: int = Field(default=2, ge=1, description="number of checkpoints kept")


class TrainingConfig(Config):
    """How a model is fitted."""

    steps: int = Field(default=1000, ge=1, description="optimiser steps of each act that does not say otherwise")
    batch_size: int = Field(default=256, ge=1, description="global batch: samples per step over all processes")
    micro_batch: int | None = Field(
        default=None, ge=1, description="largest number of samples per process and backward"
    )
    optimizer: OptimizerConfig = OptimizerConfig()
    average: float = Field(default=0.0, ge=0, lt=1, description="decay of the averaged weights (EMA); 0 for none")
    acts: dict[str, ActConfig] = Field(default_factory=dict, description="options by act")
    parallel: ParallelConfig = ParallelConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    log_every: int = Field(default=10, ge=1, description="steps between rows of the loss file")
    max_minutes: float | None = Field(
        default=None, gt=0, description="stop early after this long; acts share it in proportion to steps"
    )

    def plan(self, acts: Sequence[Act]) -> Plan:
        """Give each act its options; raises `ConfigError` for options of an act or role that is not there."""
        names = [act.name for act in acts]
        for name, options in self.acts.items():
            if name not in names:
                raise ConfigError(
                    f'training.acts: the model has no act "{name}".{did_you_mean(name, names)} It has {names}.'
                )
            roles = [role.name for act in acts if act.name == name for role in act.roles]
            for role in options.optimizers:
                if role not in roles:
                    raise ConfigError(f'training.acts.{name}.optimizers: there is no role "{role}"; it has {roles}.')
        return Plan(tuple(self._stage(act) for act in acts), self)

    def _stage(self, act: Act) -> Stage:
        options = self.acts.get(act.name, ActConfig())
        optimizer = options.optimizer or self.optimizer
        return Stage(
            act=act,
            steps=options.steps or self.steps,
            batch_size=options.batch_size or self.batch_size,
            optimizers={role.name: options.optimizers.get(role.name, optimizer) for role in act.roles},
            average=self.average if options.average is None else options.average,
        )


@dataclass(frozen=True)
class Stage:
    """An act with everything decided."""

    act: Act
    steps: int
    batch_size: int
    optimizers: dict[str, OptimizerConfig]
    average: float


@dataclass(frozen=True)
class Plan:
    """Stages in order, and the options they share."""

    stages: tuple[Stage, ...]
    training: TrainingConfig
