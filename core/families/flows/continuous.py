"""Continuous flows: a velocity field whose ODE carries noise to data, fitted by the likelihood of the data.

Grathwohl et al., "FFJORD", arXiv:1810.01367. The log-density changes along a path by minus the divergence of the
velocity, which training takes from one random probe per sample (Hutchinson), or exactly, steadier for few numbers.
Training differentiates through the sampler's own steps. Fixed ones keep a sample's loss its own whatever the batch, but
they err, and a field soon learns to err in its favour: to promise densities that finer steps do not find. So what half
as many steps find differently weighs heavily in the loss, and rough paths have their price (Finlay et al.,
arXiv:2002.02798). Steps of dopri5 are as small as they have to be, but they are chosen for a batch as a whole, which
then cannot be cut. Densities that are asked for take these and the exact trace.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...data import Batch
from ...layout import Layout
from ...nets import AnyNetwork, NetworkConfig
from ...nets.mlp import MLPConfig
from ...nets.residual import ResidualConfig
from ...noise import Noise
from ...objective import Losses, Objective, Player, Stage
from ...samplers.likelihood import exact_divergence, hutchinson, log_prob_and_roughness
from ...samplers.ode import INTEGRATORS, Method, VectorField
from ...samplers.schedules import linear_schedule
from ...spaces import Space
from .. import FamilyConfig, families
from ..ode import ODEModel

SLOWER = 1 / 16
"""Of the time that a network is given: its features have up to 8 cycles per unit, which no few steps can follow."""

DOUBT = 10.0
"""Weight of the error in the loss: what erring gains is a multiple of what half as many steps give away."""


class Continuous(ODEModel):
    """A velocity field that is learned by maximum likelihood."""

    def __init__(self, config: ContinuousConfig, layout: Layout, network: nn.Module) -> None:
        super().__init__(layout, network, method=config.method, steps=config.steps, precision=config.precision)
        self.config = config

    def field(self, context: Tensor | None) -> VectorField:
        return lambda x, t: self.network(x, SLOWER * t, context)

    def stages(self) -> list[Stage]:
        return [Stage("fit", (Player("model", ContinuousObjective(self), (self.network,)),))]


class ContinuousObjective(Objective):
    """Negative log-likelihood along a path, its error and the price of roughness, per dimension, nats.

    The error is judged by a second path of half as many steps (Hairer, Norsett & Wanner, "Solving ordinary differential
    equations I", II.4). Reads the noise "probe" (D,).
    """

    double_backward = True

    def __init__(self, model: Continuous) -> None:
        super().__init__()
        self.model, self.coupled = model, model.method == "dopri5"

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        model, layout = self.model, self.model.layout
        rows = layout.flatten(batch.x)
        exact = model.config.trace == "exact"
        along = partial(
            log_prob_and_roughness,
            model.field(layout.context(batch.condition, rows)),
            rows,
            divergence=exact_divergence if exact else hutchinson(noise.normal("probe", (layout.features,))),
            integrate=INTEGRATORS[model.method],
        )
        log_prob, roughness = along(linear_schedule(1.0, 0.0, model.steps))
        error = torch.zeros_like(log_prob)
        if not self.coupled:  # steps of a given size
            error = (log_prob - along(linear_schedule(1.0, 0.0, model.steps // 2))[0]).abs()
        losses = (DOUBT * error - log_prob + model.config.roughness * roughness) / layout.features
        return Losses(losses, metrics={"nll": -log_prob / layout.features, "error": error / layout.features})


@families.register("continuous")
class ContinuousConfig(FamilyConfig):
    """Continuous normalizing flow."""

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
        description="divergence in training: by one probe per sample, or exact, at a pass per number",
    )
    method: Method = Field(
        default="rk4", description="integrator of training and of the sampler; dopri5 couples a batch"
    )
    steps: int = Field(default=8, ge=2, description="its steps; rk4 evaluates four times per step")
    roughness: float = Field(
        default=0.01,
        ge=0,
        allow_inf_nan=False,
        description="price of |v|^2 + |dv/dx|^2 along a path, which keeps paths simple",
    )
    precision: float = Field(
        default=1e-8,
        gt=0,
        allow_inf_nan=False,
        description="of the adaptive integrator behind encode, decode and log_prob",
    )

    def build(self, space: Space, condition: Space | None = None) -> Continuous:
        network: NetworkConfig = self.network
        return Continuous(self, Layout(space, condition), network.build(space, condition, time=True))

    @classmethod
    def example(cls) -> ContinuousConfig:
        return cls(network=MLPConfig(hidden=(16,)), steps=2)
