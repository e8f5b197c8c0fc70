"""What is trained and how: the config of a fit, and the plan that the loop follows, made of scheduled stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field

from ..config import Config
from ..errors import ConfigError, did_you_mean
from ..objective import Player, Stage


class OptimizerConfig(Config):
    """Optimiser and learning rate of a player."""

    kind: Literal["adamw", "adam", "sgd", "lbfgs", "none"] = Field(
        default="adamw", description="none: no gradients; only `Objective.update` changes the model (EM, for example)"
    )
    lr: float = Field(default=1e-3, gt=0, description="peak learning rate")
    betas: tuple[float, float] = Field(
        default=(0.9, 0.99), description="decay of the running moments; sgd takes the first as its momentum"
    )
    weight_decay: float = Field(
        default=0.0, ge=0, description="of matrices and kernels; biases, normalisations and embeddings do not decay"
    )
    warmup: int = Field(default=0, ge=0, description="steps of linear warm-up")
    schedule: Literal["constant", "cosine"] = "cosine"
    final: float = Field(
        default=0.01, ge=0, le=1, description="learning rate at the last step, as a fraction of the peak"
    )
    clip: float | None = Field(default=None, gt=0, description="largest norm of the gradient")


class AverageConfig(Config):
    """Running average of a player's weights; what is not set is the stage's, or as the family says.

    >>> training = TrainingConfig(stages={"fit": StageConfig(averages={"critic": AverageConfig(use="adopt")})})
    >>> training.stages["fit"].averages["critic"].use
    'adopt'
    """

    decay: float | None = Field(default=None, ge=0, lt=1, description="0 for no average")
    use: Literal["adopt", "aside", "none"] | None = Field(
        default=None, description="adopted when the stage ends, kept aside until the fit ends, or none at all"
    )


WITHOUT_GRADIENTS = OptimizerConfig(kind="none")
"""The optimiser of a player whose objective only has statistics."""


class StageConfig(Config):
    """Options of one stage; what is not set is taken from `TrainingConfig`.

    >>> training = TrainingConfig(steps=1000, stages={"fit": StageConfig(steps=20)})
    >>> training.stages["fit"].steps, training.stages["fit"].batch_size
    (20, None)
    """

    steps: int | None = Field(default=None, ge=1)
    batch_size: int | None = Field(default=None, ge=1)
    optimizer: OptimizerConfig | None = None
    optimizers: dict[str, OptimizerConfig] = Field(default_factory=dict, description="by player, before `optimizer`")
    ema_decay: float | None = Field(default=None, ge=0, lt=1, description="decay of the averaged weights; 0 for none")
    averages: dict[str, AverageConfig] = Field(default_factory=dict, description="by player, before `ema_decay`")


class ParallelConfig(Config):
    """How networks are distributed over processes, compiled, and in which precision they compute.

    >>> ParallelConfig(kind="fsdp", precision="bfloat16").dtype
    torch.float32
    """

    kind: Literal["ddp", "fsdp"] = "ddp"
    compile: bool = Field(
        default=False, description="compile networks in place (not those with double backward), and the bits of noise"
    )
    precision: Literal["float32", "tf32", "bfloat16", "float64"] = Field(
        default="float32",
        description="of products; tf32 and bfloat16 keep float32 weights; a CPU has no tf32",
    )

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of weights, data and noise: float32 under tf32 and bfloat16, which only products use."""
        return torch.float64 if self.precision == "float64" else torch.float32


class CheckpointConfig(Config):
    """When the state of a fit is saved.

    >>> TrainingConfig(checkpoint=CheckpointConfig(every=100)).checkpoint.keep
    2
    """

    every: int = Field(default=500, ge=1, description="steps between checkpoints")
    keep: int = Field(default=2, ge=1, description="number of checkpoints kept")


class TrainingConfig(Config):
    """How a model is fitted."""

    steps: int = Field(default=1000, ge=1, description="steps of each stage whose options do not set them")
    batch_size: int = Field(default=256, ge=1, description="global batch: samples per step over all processes")
    micro_batch: int | None = Field(
        default=None, ge=1, description="largest number of samples per process and backward"
    )
    optimizer: OptimizerConfig = OptimizerConfig()
    ema_decay: float = Field(default=0.0, ge=0, lt=1, description="decay of the averaged weights (EMA); 0 for none")
    stages: dict[str, StageConfig] = Field(default_factory=dict, description="options by stage")
    parallel: ParallelConfig = ParallelConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    resident_bytes: int = Field(
        default=2**33, ge=0, description="data of at most so many bytes are kept on the GPU; 0 for none"
    )
    log_every: int = Field(default=10, ge=1, description="steps between rows of the loss file")
    max_minutes: float | None = Field(
        default=None,
        gt=0,
        description="stop early after this long; divided over the stages in proportion to their steps",
    )

    def plan(self, stages: Sequence[Stage]) -> Plan:
        """Give each stage its options; raises `ConfigError` for options of a stage or player that is not there.

        >>> from maquette.core.families.gan.gan import GANConfig
        >>> from maquette.core.spaces import Vector
        >>> plan = TrainingConfig(steps=50).plan(GANConfig.example().build(Vector(dim=2)).stages())
        >>> isinstance(plan, Plan), [isinstance(stage, ScheduledStage) for stage in plan.stages]
        (True, [True])
        >>> [(stage.name, stage.steps, list(stage.optimizers)) for stage in plan.stages]
        [('fit', 50, ['critic', 'generator'])]
        """
        names = [stage.name for stage in stages]
        for name, options in self.stages.items():
            if name not in names:
                raise ConfigError(
                    f'training.stages: the model has no stage "{name}".{did_you_mean(name, names)} It has {names}.'
                )
            players = [player.name for stage in stages if stage.name == name for player in stage.players]
            for field, named in (("optimizers", options.optimizers), ("averages", options.averages)):
                for player in named:
                    if player not in players:
                        raise ConfigError(
                            f'training.stages.{name}.{field}: there is no player "{player}"; it has {players}.'
                        )
        return Plan(tuple(self._schedule(stage) for stage in stages), self)

    def _schedule(self, stage: Stage) -> ScheduledStage:
        options = self.stages.get(stage.name, StageConfig())
        optimizer = options.optimizer or self.optimizer
        return ScheduledStage(
            stage=stage,
            steps=options.steps or self.steps,
            batch_size=options.batch_size or self.batch_size,
            optimizers={
                player.name: options.optimizers.get(player.name, optimizer if player.gradient else WITHOUT_GRADIENTS)
                for player in stage.players
            },
            averages={player.name: self._average(player, options) for player in stage.players},
        )

    def _average(self, player: Player, options: StageConfig) -> AverageConfig:
        asked = options.averages.get(player.name, AverageConfig())
        decay = self.ema_decay if options.ema_decay is None else options.ema_decay
        use = asked.use or player.average
        return AverageConfig(decay=0.0 if use == "none" else decay if asked.decay is None else asked.decay, use=use)


@dataclass(frozen=True)
class ScheduledStage:
    """A stage with its options.

    Attributes:
        stage: what the model trains.
        steps: planned steps.
        batch_size: samples per step over all processes.
        optimizers: by player.
        averages: by player, with decay (0 for none) and use.
    """

    stage: Stage
    steps: int
    batch_size: int
    optimizers: dict[str, OptimizerConfig]
    averages: dict[str, AverageConfig]

    @property
    def name(self) -> str:
        return self.stage.name

    @property
    def players(self) -> tuple[Player, ...]:
        return self.stage.players


@dataclass(frozen=True)
class Plan:
    """Stages in order, and the options they share."""

    stages: tuple[ScheduledStage, ...]
    training: TrainingConfig
