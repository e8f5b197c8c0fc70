"""Continuous flows: a velocity field whose ODE carries noise to data, fitted by maximum likelihood.

Grathwohl et al., "FFJORD", arXiv:1810.01367. The log-density changes along a path by minus the divergence of the
velocity. Training estimates the divergence with one random probe per sample (Hutchinson), or computes it exactly, which
has less variance and pays off for few features.

Training differentiates through the steps of the integrator. With fixed steps, the loss of a sample does not depend on
its batch. But the field could then lower the loss by integration errors: with finer steps the density would be another.
So the loss contains an estimate of the integration error, with a large weight, and a penalty on rough paths (Finlay et
al., arXiv:2002.02798). With dopri5, the steps adapt to the batch as a whole, which then cannot be split.
`log_prob` always uses dopri5 and the exact divergence.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from ...bases import BaseConfig, NormalConfig
from ...context import Context
from ...data import Batch
from ...layout import Layout
from ...nets import AnyNetwork, NetworkConfig
from ...nets.mlp import MLPConfig
from ...nets.residual import ResidualConfig
from ...noise import Noise
from ...objective import Losses, Objective, Player, Stage
from ...samplers.likelihood import exact_divergence, hutchinson, log_prob_and_roughness
from ...samplers.ode import INTEGRATORS, Method, VectorField, dopri5
from ...samplers.schedules import linear_schedule
from ...spaces import Space
from .. import FamilyConfig, families
from ..ode import ODEModel
from ..sampling import ODESamplerConfig

TIME_SCALE = 1 / 16
"""Factor on the time that a network sees: its time features have up to 8 cycles per unit, too many for coarse steps."""

ERROR_WEIGHT = 10.0
"""Weight of the integration error in the loss; large, so that an error never lowers the loss."""


class Continuous(ODEModel):
    """A velocity field fitted by maximum likelihood.

    >>> from maquette.core.spaces import Vector
    >>> model: Continuous = ContinuousConfig(network=MLPConfig(hidden=(16,)), steps=2).build(Vector(dim=2))
    >>> model.log_prob(torch.zeros(1, 2)).detach()  # before training, the standard normal
    tensor([-1.8379])
    """

    def __init__(self, config: ContinuousConfig, layout: Layout, network: nn.Module) -> None:
        super().__init__(
            layout,
            network,
            sampler=config.sampler or ODESamplerConfig(method=config.method, steps=config.steps),
            base=config.base.build(layout),
            adaptive_integrator=partial(dopri5, tolerance=config.precision),
        )
        self.config = config

    def field(self, context: Context) -> VectorField:
        return lambda x, t: self.network(x, TIME_SCALE * t, context)

    def _trained(self) -> tuple[nn.Module, ...]:
        return (self.network, self.base) if any(True for _ in self.base.parameters()) else (self.network,)

    def stages(self) -> list[Stage]:
        return [Stage("fit", (Player("model", ContinuousObjective(self), self._trained()),))]


class ContinuousObjective(Objective):
    """Negative log-likelihood, its integration error and the roughness penalty, per feature, nats.

    The error is estimated by integrating again with half as many steps (Hairer, Norsett & Wanner, "Solving ordinary
    differential equations I", II.4). Reads the noise "probe" (D,).

    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> model = ContinuousConfig(network=MLPConfig(hidden=(16,)), steps=2).build(Vector(dim=2))
    >>> index = torch.arange(1)
    >>> losses = ContinuousObjective(model)(Batch(torch.zeros(1, 2), None, index), KeyedNoise(0, index))
    >>> {name: round(value.item(), 4) for name, value in losses.metrics.items()}  # 0.9189 = 1/2 log 2 pi
    {'nll': 0.9189, 'error': 0.0}
    """

    double_backward = True

    def __init__(self, model: Continuous) -> None:
        super().__init__()
        self.model, self.coupled = model, model.config.method == "dopri5"

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        model, layout = self.model, self.model.layout
        x = layout.flatten(batch.x)
        context = layout.context(batch.condition, x)
        exact = model.config.trace == "exact"
        integrate = partial(
            log_prob_and_roughness,
            model.field(context),
            x,
            base=partial(model.base.log_prob, context=context.vector),
            divergence=exact_divergence if exact else hutchinson(noise.normal("probe", (layout.features,))),
            integrate=INTEGRATORS[model.config.method],
        )
        log_prob, roughness = integrate(linear_schedule(1.0, 0.0, model.config.steps))
        error = torch.zeros_like(log_prob)
        if not self.coupled:  # fixed steps
            error = (log_prob - integrate(linear_schedule(1.0, 0.0, model.config.steps // 2))[0]).abs()
        losses = (ERROR_WEIGHT * error - log_prob + model.config.roughness * roughness) / layout.features
        return Losses(losses, metrics={"nll": -log_prob / layout.features, "error": error / layout.features})


@families.register("continuous")
class ContinuousConfig(FamilyConfig):
    """Continuous normalizing flow.

    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> model = ContinuousConfig(network=MLPConfig(hidden=(16,)), steps=2).build(Vector(dim=2))
    >>> x = model.sample(5, noise=KeyedNoise(0, torch.arange(5)))
    >>> x.shape, model.log_prob(x).shape
    (torch.Size([5, 2]), torch.Size([5]))
    """

    summary: ClassVar[str] = "velocity field whose ODE carries noise to data, by maximum likelihood (FFJORD)"
    reference: ClassVar[str] = "Grathwohl et al., arXiv:1810.01367; Chen et al., arXiv:1806.07366"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "product")
    model: ClassVar[type[nn.Module]] = Continuous
    tolerance: ClassVar[str] = "ode"
    tolerances: ClassVar[dict[str, float]] = {"inverse": 1e-5}

    kind: Literal["continuous"] = "continuous"
    network: AnyNetwork = ResidualConfig()
    trace: Literal["hutchinson", "exact"] = Field(
        default="hutchinson",
        description="divergence in training: estimated by one probe per sample, or exact, a backward pass per feature",
    )
    method: Method = Field(default="rk4", description="integrator of training; with dopri5 a batch cannot be split")
    steps: int = Field(
        default=8, ge=2, description="steps of the integrator; rk4 evaluates the network four times per step"
    )
    sampler: ODESamplerConfig | None = Field(
        default=None, description="other steps for the sampler; by default it takes those of training"
    )
    base: BaseConfig = Field(default=NormalConfig(), description="distribution of the noise")
    roughness: float = Field(
        default=0.01,
        ge=0,
        allow_inf_nan=False,
        description="weight of the penalty |v|^2 + |dv/dx|^2 along a path",
    )
    precision: float = Field(
        default=1e-8,
        gt=0,
        allow_inf_nan=False,
        description="tolerance of the adaptive integrator of encode, decode and log_prob",
    )

    def build(self, space: Space, condition: Space | None = None) -> Continuous:
        network: NetworkConfig = self.network
        return Continuous(self, Layout(space, condition), network.build(space, condition, time=True))

    @classmethod
    def example(cls) -> ContinuousConfig:
        return cls(network=MLPConfig(hidden=(16,)), steps=2)
