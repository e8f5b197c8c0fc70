"""Flow matching: a velocity field regressed on straight lines from noise to data.

A sample x and a standard normal z are joined by x_t = (1 - t) z + t x. The velocity that carries the marginals of
x_t is the conditional mean of x - z, which least squares finds; the ODE from t = 0 to 1 then turns noise into data.
Lipman et al., arXiv:2210.02747; Liu et al., arXiv:2209.03003; logit-normal times: Esser et al., arXiv:2403.03206.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...data import Batch
from ...layout import Layout
from ...nets import AnyNetwork, NetworkConfig
from ...nets.residual import ResidualConfig
from ...noise import Noise
from ...objective import Losses, Objective, Player, Stage
from ...samplers.ode import Method
from ...spaces import Space
from .. import FamilyConfig, families
from ..ode import ODEModel


class FlowMatching(ODEModel):
    """A velocity field that is learned by regression."""

    def __init__(self, config: FlowMatchingConfig, layout: Layout, network: nn.Module) -> None:
        super().__init__(layout, network, method=config.method, steps=config.steps, precision=config.precision)
        self.config = config

    def stages(self) -> list[Stage]:
        return [Stage("fit", (Player("model", FlowMatchingObjective(self), (self.network,)),))]


class FlowMatchingObjective(Objective):
    """Mean squared error of the velocity on the line between a sample and its noise."""

    def __init__(self, model: FlowMatching) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        layout = self.model.layout
        x = layout.flatten(batch.x)
        z, t = layout.prior(x.shape[0], noise), self._times(noise)
        line = torch.lerp(z, x, t[:, None])
        error = self.model.network(line, t, layout.context(batch.condition, x)) - (x - z)
        return Losses(error.square().mean(dim=1))

    def _times(self, noise: Noise) -> Tensor:
        if self.model.config.times == "uniform":
            return noise.uniform("time")
        return torch.sigmoid(noise.normal("time"))


@families.register("flow-matching")
class FlowMatchingConfig(FamilyConfig):
    """Flow matching on straight lines."""

    summary: ClassVar[str] = "velocity field regressed on straight lines from noise to data"
    reference: ClassVar[str] = "Lipman et al., arXiv:2210.02747; Liu et al., arXiv:2209.03003"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "product")
    model: ClassVar[type[nn.Module]] = FlowMatching
    tolerance: ClassVar[str] = "ode"

    kind: Literal["flow-matching"] = "flow-matching"
    network: AnyNetwork = ResidualConfig()
    times: Literal["uniform", "logit-normal"] = Field(default="uniform", description="law of the training times")
    method: Method = Field(default="midpoint", description="integrator of the sampler")
    steps: int = Field(default=10, ge=1, description="steps of the sampler; midpoint and heun evaluate twice per step")
    precision: float = Field(
        default=1e-6, gt=0, description="of the adaptive integrator behind encode, decode and log_prob"
    )

    def build(self, space: Space, condition: Space | None = None) -> FlowMatching:
        network: NetworkConfig = self.network
        return FlowMatching(self, Layout(space, condition), network.build(space, condition, time=True))

    @classmethod
    def example(cls) -> FlowMatchingConfig:
        return cls(network=ResidualConfig(width=16, depth=1), steps=4)
