"""Distillation of an ODE sampler to a few network evaluations.

The student has the teacher's architecture and starts from its weights. From the same noise, it learns to reach the end
point of the teacher's sampler in k Euler steps. The teacher's map from noise to sample is deterministic, so least
squares on its end points does not average over different samples (Luhman & Luhman, arXiv:2101.02388; Liu et al.,
arXiv:2209.03003, section 3.2). With k > 1 the loss also compares the student's intermediate states with the teacher's,
and gradients pass through all of the student's steps, so that later steps correct earlier ones (progressive
distillation, Salimans & Ho, arXiv:2202.00512, halves the steps in several rounds instead).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from ...config import kind_of
from ...context import Context
from ...data import Batch
from ...errors import ConfigError
from ...layout import Layout
from ...noise import Noise
from ...objective import Losses, Objective, Player, Stage, Trainable
from ...samplers.ode import euler
from ...spaces import Space, Tree
from .. import AnyFamily, FamilyConfig, families
from ..ode import ODEModel
from ..sampling import SamplerConfig, changed, share


class Distilled(nn.Module):
    """Teacher and student; samples with the student.

    >>> from maquette.core.spaces import Vector
    >>> teacher = {"kind": "edm", "sampler": {"steps": 4}}
    >>> model: Distilled = DistilledConfig(teacher=teacher, evaluations=2).build(Vector(dim=2))
    >>> [len(times) - 1 for times in model.segments()]  # steps of the teacher for each step of the student
    [2, 2]
    """

    def __init__(self, config: DistilledConfig, layout: Layout, teacher: ODEModel, student: ODEModel) -> None:
        super().__init__()
        self.config, self.layout, self.teacher, self.student = config, layout, teacher, student
        student.base = teacher.base  # fitted with the teacher, if it has weights
        self.sampler: Any = config.sampler

    def with_sampler(self, **overrides: Any) -> Self:
        """A view of the model, sharing its weights, that samples with other options; raises `ConfigError`."""
        return share(self, sampler=changed(self.sampler, overrides))

    def at(self, space: Space) -> Self:
        """The model of samples of another grid, sharing its weights; raises `ConfigError` as `ODEModel.at`."""
        teacher, student = self.teacher.at(space), self.student.at(space)
        return share(self, layout=self.layout.at(space), teacher=teacher, student=student)

    def segments(self) -> list[list[float]]:
        """The teacher's times, cut into one segment per student step; each segment starts where the last one ends."""
        times, evaluations = self.teacher.times, self.config.evaluations
        knots = [round(i * (len(times) - 1) / evaluations) for i in range(evaluations + 1)]
        return [times[low : high + 1] for low, high in pairwise(knots)]

    def steps(self, z: Tensor, context: Context) -> list[Tensor]:
        """States (B, D) after each of the student's steps from standard normal noise z (B, D)."""
        x, field, states = self.student.start(z), self.student.field(context), []
        for times in self.segments():
            x = euler(field, x, (times[0], times[-1]))
            states.append(x)
        return states

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Draw n samples with the student; reads the noise "prior" (D,)."""
        z, context = self.student.draw(n, condition, noise, self.sampler.temperature)
        return self.layout.unflatten(self.steps(z, context)[-1])

    def stages(self) -> list[Stage]:
        """The teacher's stages, then "distill" with one player, "model"."""
        assert isinstance(self.teacher, Trainable)
        player = Player("model", DistillationObjective(self), (self.student.network,))
        return [*self.teacher.stages(), Stage("distill", (player,), prepare=self.copy_teacher)]

    @torch.no_grad()
    def copy_teacher(self) -> None:
        """Start the student from the teacher's weights."""
        for mine, theirs in zip(self.student.parameters(), self.teacher.parameters(), strict=True):
            mine.copy_(theirs)
        for mine, theirs in zip(self.student.buffers(), self.teacher.buffers(), strict=True):
            mine.copy_(theirs)


class DistillationObjective(Objective):
    """Mean squared distance (B,) of the student's states from the teacher's, from the same noise.

    Of a batch only the conditions and the number of samples are used. Reads the noise "prior" (D,).

    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> model = DistilledConfig.example().build(Vector(dim=2))
    >>> index = torch.arange(3)
    >>> batch = Batch(torch.zeros(3, 2), None, index)
    >>> DistillationObjective(model)(batch, KeyedNoise(0, index)).losses.tolist()  # untrained, both stay at the noise
    [0.0, 0.0, 0.0]
    """

    def __init__(self, model: Distilled) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        model = self.model
        with torch.no_grad():
            z, context = model.teacher.draw(len(batch), batch.condition, noise)
        states = model.steps(z, context)
        with torch.no_grad():
            x, targets = model.teacher.start(z), []
            for times in model.segments():
                x = model.teacher.integrate(x, times, context)
                targets.append(x)
        errors = [(mine - theirs).square().mean(dim=1) for mine, theirs in zip(states, targets, strict=True)]
        return Losses(torch.stack(errors).mean(dim=0), metrics={"end": errors[-1].detach()})


@families.register("distilled")
class DistilledConfig(FamilyConfig):
    """Few-step student of an ODE sampler.

    >>> import torch
    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> model = DistilledConfig.example().build(Vector(dim=2))
    >>> [stage.name for stage in model.stages()]
    ['fit', 'distill']
    >>> model.sample(3, noise=KeyedNoise(0, torch.arange(3))).shape
    torch.Size([3, 2])
    """

    summary: ClassVar[str] = "student that reaches an ODE sampler's end points in one or a few evaluations"
    reference: ClassVar[str] = "Luhman & Luhman, arXiv:2101.02388; Salimans & Ho, arXiv:2202.00512"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "product")
    model: ClassVar[type[nn.Module]] = Distilled
    tolerance: ClassVar[str] = "ode"

    kind: Literal["distilled"] = "distilled"
    teacher: AnyFamily
    evaluations: int = Field(default=1, ge=1, description="network evaluations per sample")
    sampler: SamplerConfig = SamplerConfig()

    def samples(self, space: Space) -> Space:
        """As the teacher."""
        return self.teacher.samples(space)

    def build(self, space: Space, condition: Space | None = None) -> Distilled:
        teacher, student = (self.teacher.build(space, condition) for _ in range(2))
        if not isinstance(teacher, ODEModel) or not isinstance(student, ODEModel):
            raise ConfigError(
                f'distilled.teacher: "{kind_of(self.teacher)}" does not carry noise to data along an ODE; '
                'take "flow-matching" or "edm".'
            )
        if self.evaluations >= len(teacher.times):
            raise ConfigError(
                f"distilled.evaluations: expected at most the teacher's {len(teacher.times) - 1} steps, "
                f"found {self.evaluations}."
            )
        return Distilled(self, Layout(space, condition), teacher, student)

    @classmethod
    def example(cls) -> DistilledConfig:
        return cls(teacher=families.get("flow-matching").example(), evaluations=2)
