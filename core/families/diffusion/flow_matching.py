"""Flow matching: a velocity field regressed on straight lines from noise to data.

A sample x and a standard normal z are joined by x_t = (1 - t) z + t x. The velocity that carries the marginals of
x_t is the conditional mean of x - z, which least squares finds; the ODE from t = 0 to 1 then turns noise into data.
Lipman et al., arXiv:2210.02747; Liu et al., arXiv:2209.03003; logit-normal times: Esser et al., arXiv:2403.03206.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...data import Batch
from ...layout import Layout
from ...nets import NetworkConfig, networks
from ...nets.residual import ResidualConfig
from ...noise import Noise
from ...objective import Act, Losses, Objective, Role
from ...registry import by_kind
from ...samplers.likelihood import exact_divergence, ode_log_prob
from ...samplers.ode import INTEGRATORS, Method, VectorField, dopri5, grid
from ...spaces import Space, Tree
from .. import FamilyConfig, families


class FlowMatching(nn.Module):
    """Velocity field on rows (B, D), and the sampler, code and density that its ODE gives.

    `sample` follows the ODE with the configured fixed steps; `encode`, `decode` and `log_prob` follow it exactly (up
    to `precision`), the latter with D backward passes per evaluation.
    """

    def __init__(self, config: FlowMatchingConfig, layout: Layout, network: nn.Module) -> None:
        super().__init__()
        self.config, self.layout, self.network = config, layout, network

    def velocity(self, x: Tensor, t: Tensor, condition: Tree | None = None) -> Tensor:
        """dx/dt (B, D) at rows x (B, D) and times t (B,) in [0, 1]."""
        return self.network(x, t, self.layout.columns(condition, x))

    def times(self) -> list[float]:
        """Times of the sampler, from noise to data."""
        return grid(0.0, 1.0, self.config.steps)

    def start(self, z: Tensor) -> Tensor:
        """Where the sampler puts standard normal rows (B, D)."""
        return z

    def field(self, columns: Tensor | None) -> VectorField:
        """The velocity at condition columns (B, C), as from `Layout.columns`."""
        return lambda x, t: self.network(x, t, columns)

    def follow(self, x: Tensor, times: Sequence[float], columns: Tensor | None) -> Tensor:
        """Integrate rows x (B, D) along some of the sampler's times."""
        return INTEGRATORS[self.config.method](self.field(columns), x, times)

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Draw n samples; reads the noise "prior" (D,)."""
        z = self.layout.prior(n, noise)
        return self.layout.value(self.follow(self.start(z), self.times(), self.layout.columns(condition, z)))

    def encode(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """The noise (B, D) that the ODE carries to x."""
        rows = self.layout.rows(x)
        field = self.field(self.layout.columns(condition, rows))
        return dopri5(field, rows, (1.0, 0.0), tolerance=self.config.precision)

    def decode(self, z: Tensor, condition: Tree | None = None) -> Tree:
        """The sample that the exact ODE makes of noise z (B, D)."""
        field = self.field(self.layout.columns(condition, z))
        return self.layout.value(dopri5(field, z, (0.0, 1.0), tolerance=self.config.precision))

    def log_prob(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """Log-density of the exact ODE, shape (B,), nats."""
        rows = self.layout.rows(x)
        field = self.field(self.layout.columns(condition, rows))
        return ode_log_prob(field, rows, divergence=exact_divergence, tolerance=self.config.precision)

    def acts(self) -> list[Act]:
        return [Act("fit", (Role("model", FlowMatchingObjective(self), (self.network,)),))]


class FlowMatchingObjective(Objective):
    """Mean squared error of the velocity on the line between a sample and its noise."""

    def __init__(self, model: FlowMatching) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        layout = self.model.layout
        x = layout.rows(batch.x)
        z, t = layout.prior(x.shape[0], noise), self._times(noise)
        line = torch.lerp(z, x, t[:, None])
        error = self.model.network(line, t, layout.columns(batch.condition, x)) - (x - z)
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
    network: by_kind(networks) = ResidualConfig()  # type: ignore[valid-type]
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
