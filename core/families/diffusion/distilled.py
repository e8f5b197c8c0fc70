"""Distillation of an ODE sampler to a few network evaluations.

A student of the teacher's own shape, started from the teacher's weights, learns to reach in k Euler steps where the
teacher's sampler takes the same noise. The teacher's map from noise to sample is deterministic, so regression on its
end points has no blur of its own (Luhman & Luhman, arXiv:2101.02388; Liu et al., arXiv:2209.03003, 3.2). With k > 1
the student is unrolled through its own intermediate states and also shown the teacher's, so that its steps correct
each other (the idea of progressive halving, Salimans & Ho, arXiv:2202.00512, without its many rounds).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from pydantic import Field
from torch import Tensor, nn

from ...config import kind_of
from ...data import Batch
from ...errors import ConfigError
from ...layout import Layout
from ...noise import Noise
from ...objective import Losses, Objective, Player, Stage
from ...samplers.ode import VectorField, euler
from ...spaces import Space, Tree
from .. import AnyFamily, FamilyConfig, families


@runtime_checkable
class ODESampler(Protocol):
    """A model whose sampler carries noise to data along an ODE, in steps that can be cut short."""

    network: nn.Module

    def times(self) -> list[float]:
        """Times of the sampler, from noise to data."""
        ...

    def start(self, z: Tensor) -> Tensor:
        """Where the sampler puts standard normal rows (B, D)."""
        ...

    def field(self, context: Tensor | None) -> VectorField:
        """The field given context (B, C)."""
        ...

    def integrate(self, x: Tensor, times: Sequence[float], context: Tensor | None) -> Tensor:
        """Integrate rows x (B, D) along some of the times."""
        ...


class Distilled(nn.Module):
    """Teacher and student; samples with the student."""

    teacher: Any
    student: Any

    def __init__(self, config: DistilledConfig, layout: Layout, teacher: ODESampler, student: ODESampler) -> None:
        super().__init__()
        self.config, self.layout, self.teacher, self.student = config, layout, teacher, student

    def path(self) -> list[list[float]]:
        """The teacher's times, cut into one piece per student step; neighbours share their knot."""
        times, evaluations = self.teacher.times(), self.config.evaluations
        knots = [round(i * (len(times) - 1) / evaluations) for i in range(evaluations + 1)]
        return [times[low : high + 1] for low, high in pairwise(knots)]

    def steps(self, z: Tensor, context: Tensor | None) -> list[Tensor]:
        """Rows (B, D) after each of the student's steps."""
        x, field, states = self.student.start(z), self.student.field(context), []
        for times in self.path():
            x = euler(field, x, (times[0], times[-1]))
            states.append(x)
        return states

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Draw n samples with the student; reads the noise "prior" (D,)."""
        z = self.layout.prior(n, noise)
        return self.layout.unflatten(self.steps(z, self.layout.context(condition, z))[-1])

    def stages(self) -> list[Stage]:
        """The teacher's stages, then "distill"."""
        player = Player("model", DistillationObjective(self), (self.student.network,))
        return [*self.teacher.stages(), Stage("distill", (player,), prepare=self.enrol)]

    @torch.no_grad()
    def enrol(self) -> None:
        """Start the student from the teacher's weights."""
        for mine, theirs in zip(self.student.parameters(), self.teacher.parameters(), strict=True):
            mine.copy_(theirs)
        for mine, theirs in zip(self.student.buffers(), self.teacher.buffers(), strict=True):
            mine.copy_(theirs)


class DistillationObjective(Objective):
    """Squared distance of the student's states from the teacher's, from the same noise; the data lend conditions."""

    def __init__(self, model: Distilled) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        model = self.model
        z = model.layout.prior(len(batch), noise)
        context = model.layout.context(batch.condition, z)
        states = model.steps(z, context)
        with torch.no_grad():
            x, targets = model.teacher.start(z), []
            for times in model.path():
                x = model.teacher.integrate(x, times, context)
                targets.append(x)
        errors = [(mine - theirs).square().mean(dim=1) for mine, theirs in zip(states, targets, strict=True)]
        return Losses(torch.stack(errors).mean(dim=0), metrics={"end": errors[-1].detach()})


@families.register("distilled")
class DistilledConfig(FamilyConfig):
    """Few-step student of an ODE sampler."""

    summary: ClassVar[str] = "student that reaches an ODE sampler's end points in one or a few evaluations"
    reference: ClassVar[str] = "Luhman & Luhman, arXiv:2101.02388; Salimans & Ho, arXiv:2202.00512"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "product")
    model: ClassVar[type[nn.Module]] = Distilled
    tolerance: ClassVar[str] = "ode"

    kind: Literal["distilled"] = "distilled"
    teacher: AnyFamily
    evaluations: int = Field(default=1, ge=1, description="network evaluations per sample")

    def build(self, space: Space, condition: Space | None = None) -> Distilled:
        teacher, student = (self.teacher.build(space, condition) for _ in range(2))
        if not isinstance(teacher, ODESampler) or not isinstance(student, ODESampler):
            raise ConfigError(
                f'distilled.teacher: "{kind_of(self.teacher)}" does not carry noise along an ODE; '
                'take "flow-matching" or "edm".'
            )
        if self.evaluations >= len(teacher.times()):
            raise ConfigError(
                f"distilled.evaluations: expected at most the teacher's {len(teacher.times()) - 1} steps, "
                f"found {self.evaluations}."
            )
        return Distilled(self, Layout(space, condition), teacher, student)

    @classmethod
    def example(cls) -> DistilledConfig:
        from .flow_matching import FlowMatchingConfig  # here, because a teacher may be of any kind

        return cls(teacher=FlowMatchingConfig.example(), evaluations=2)
