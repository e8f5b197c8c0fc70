"""Continuous flows: a velocity field whose ODE carries noise to data, fitted by the likelihood of the data.

Grathwohl et al., "FFJORD", arXiv:1810.01367. The log-density changes along a path by minus the divergence of the
velocity, which training takes from one random probe per sample (Hutchinson), or exactly, steadier for few numbers.
Training differentiates through the sampler's own steps. Fixed ones keep a sample's loss its own whatever the batch,
and rough paths, on which they err, have their price (Finlay et al., arXiv:2002.02798); those of dopri5 are chosen for a
batch as a whole, which then cannot be cut. Densities that are asked for take adaptive steps and the exact trace.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import nn

from ...data import Batch
from ...layout import Layout
from ...nets import NetworkConfig, networks
from ...nets.mlp import MLPConfig
from ...nets.residual import ResidualConfig
from ...noise import Noise
from ...objective import Act, Losses, Objective, Role
from ...registry import by_kind
from ...samplers.likelihood import exact_divergence, hutchinson, log_prob_and_roughness
from ...samplers.ode import INTEGRATORS, Method
from ...spaces import Space
from .. import FamilyConfig, families
from ..transport import Transport


class Continuous(Transport):
    """A velocity field that is learned by maximum likelihood."""

    def __init__(self, config: ContinuousConfig, layout: Layout, network: nn.Module) -> None:
        super().__init__(layout, network, method=config.method, steps=config.steps, precision=config.precision)
        self.config = config

    def acts(self) -> list[Act]:
        return [Act("fit", (Role("model", ContinuousObjective(self), (self.network,)),))]


class ContinuousObjective(Objective):
    """Negative log-likelihood along the sampler's own steps and the price of roughness, per dimension, nats.

    Reads the noise "probe" (D,); the metric "nll" is the first part alone.
    """

    double_backward = True

    def __init__(self, model: Continuous) -> None:
        super().__init__()
        self.model, self.coupled = model, model.method == "dopri5"

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        model, layout = self.model, self.model.layout
        rows = layout.rows(batch.x)
        exact = model.config.trace == "exact"
        divergence = exact_divergence if exact else hutchinson(noise.normal("probe", (layout.width,)))
        field, times = model.field(layout.columns(batch.condition, rows)), model.times()[::-1]
        log_prob, roughness = log_prob_and_roughness(
            field, rows, times, divergence=divergence, integrate=INTEGRATORS[model.method]
        )
        nll = -log_prob / layout.width
        return Losses(nll + model.config.roughness * roughness / layout.width, metrics={"nll": nll})


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
    network: by_kind(networks) = ResidualConfig()  # type: ignore[valid-type]
    trace: Literal["hutchinson", "exact"] = Field(
        default="hutchinson",
        description="divergence in training: by one probe per sample, or exact, at a pass per number",
    )
    method: Method = Field(
        default="rk4", description="integrator of training and of the sampler; dopri5 couples a batch"
    )
    steps: int = Field(default=8, ge=1, description="its steps; rk4 evaluates four times per step")
    roughness: float = Field(
        default=0.01,
        ge=0,
        allow_inf_nan=False,
        description="price of |v|^2 + |dv/dx|^2 along a path; without one, steps may be too coarse",
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
