"""Flow matching: a velocity field regressed on straight lines from noise to data.

A sample x and standard normal noise z are joined by the line x_t = (1 - t) z + t x. The velocity whose ODE has the
marginals of x_t is the conditional mean E[x - z | x_t], which least squares finds.
Lipman et al., arXiv:2210.02747; Liu et al., arXiv:2209.03003; logit-normal times: Esser et al., arXiv:2403.03206.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...bases import BaseConfig, NormalConfig
from ...context import Context
from ...data import Batch
from ...layout import Layout
from ...nets import AnyNetwork, NetworkConfig
from ...nets.residual import ResidualConfig
from ...noise import Noise
from ...objective import Losses, Objective, Player, Stage
from ...samplers.ode import VectorField, dopri5
from ...spaces import Space
from .. import FamilyConfig, families
from ..guidance import context_of_batch, laid_out
from ..ode import ODEModel
from ..sampling import GuidedSamplerConfig


class FlowMatching(ODEModel):
    """A velocity field, from a base at t = 0 to data at t = 1, that is learned by regression.

    >>> from maquette.core.spaces import Vector
    >>> model: FlowMatching = FlowMatchingConfig(sampler={"steps": 4}).build(Vector(dim=2))
    >>> model.times, model.velocity(torch.ones(1, 2), torch.zeros(1)).tolist()  # zero before training
    ([0.0, 0.25, 0.5, 0.75, 1.0], [[0.0, 0.0]])
    """

    def __init__(self, config: FlowMatchingConfig, layout: Layout, network: nn.Module) -> None:
        super().__init__(
            layout,
            network,
            sampler=config.sampler,
            base=config.base.build(layout),
            adaptive_integrator=partial(dopri5, tolerance=config.precision),
        )
        self.config = config

    def field(self, context: Context) -> VectorField:
        return lambda x, t: self.network(x, t, context)

    def stages(self) -> list[Stage]:
        """One stage, "fit", with one player, "model"; before it a stage "base" for a base that has weights."""
        player = Player("model", FlowMatchingObjective(self), (self.network,))
        return self.stages_after_base(Stage("fit", (player,)))


class FlowMatchingObjective(Objective):
    """Mean squared error (B,) of the velocity on the line between a sample and its noise.

    Reads the noise "prior" (D,) and "time" (), and "given" () if conditions may be left out. The base is held fixed.

    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> model, index = FlowMatchingConfig.example().build(Vector(dim=2)), torch.arange(2000)
    >>> losses = FlowMatchingObjective(model)(Batch(torch.randn(2000, 2), None, index), KeyedNoise(0, index)).losses
    >>> bool((losses.mean() - 2).abs() < 0.2)  # untrained, E (x - z)^2 per feature: two for normal data
    True
    """

    def __init__(self, model: FlowMatching) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        model, layout = self.model, self.model.layout
        x = layout.flatten(batch.x)
        context = context_of_batch(layout, batch, x, noise, model.config.drop)
        with torch.no_grad():
            z = model.base.draw(x.shape[0], noise, context.vector)
        t = self._times(noise)
        line = torch.lerp(z, x, t[:, None])
        error = model.network(line, t, context) - (x - z)
        return Losses(error.square().mean(dim=1))

    def _times(self, noise: Noise) -> Tensor:
        if self.model.config.times == "uniform":
            return noise.uniform("time")
        return torch.sigmoid(noise.normal("time"))


@families.register("flow-matching")
class FlowMatchingConfig(FamilyConfig):
    """Flow matching on straight lines.

    >>> import torch
    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> model = FlowMatchingConfig(network=ResidualConfig(width=8, depth=1)).build(Vector(dim=2), Vector(dim=1))
    >>> condition = torch.zeros(3, 1)
    >>> x = model.sample(3, condition, noise=KeyedNoise(0, torch.arange(3)))
    >>> x.shape, model.log_prob(x, condition).shape
    (torch.Size([3, 2]), torch.Size([3]))
    """

    summary: ClassVar[str] = "velocity field regressed on straight lines from noise to data"
    reference: ClassVar[str] = "Lipman et al., arXiv:2210.02747; Liu et al., arXiv:2209.03003"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "product")
    model: ClassVar[type[nn.Module]] = FlowMatching
    tolerance: ClassVar[str] = "ode"

    kind: Literal["flow-matching"] = "flow-matching"
    network: AnyNetwork = ResidualConfig()
    times: Literal["uniform", "logit-normal"] = Field(
        default="uniform", description="distribution of the training times"
    )
    base: BaseConfig = Field(default=NormalConfig(), description="distribution of the noise")
    drop: float = Field(
        default=0.0, ge=0, lt=1, description="chance in training that a condition is left out, for guidance; 0.1 or so"
    )
    sampler: GuidedSamplerConfig = GuidedSamplerConfig()
    precision: float = Field(
        default=1e-6, gt=0, description="tolerance of the adaptive integrator behind encode, decode and log_prob"
    )

    def build(self, space: Space, condition: Space | None = None) -> FlowMatching:
        network: NetworkConfig = self.network
        layout = laid_out(space, condition, self.drop)
        return FlowMatching(self, layout, network.build(space, layout.condition, time=True))

    @classmethod
    def example(cls) -> FlowMatchingConfig:
        return cls(network=ResidualConfig(width=16, depth=1), sampler=GuidedSamplerConfig(steps=4))
