"""Diffusion in the manner of EDM: a preconditioned denoiser over a range of noise levels, sampled by Heun's method.

Karras et al., "Elucidating the design space of diffusion-based generative models", arXiv:2206.00364: preconditioning
of table 1, loss of eq. 8, sampler of algorithm 1 (without churn). Equation numbers below are theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from ...data import Batch
from ...layout import Layout
from ...nets import AnyNetwork, NetworkConfig
from ...nets.residual import ResidualConfig
from ...noise import Noise
from ...objective import Losses, Objective, Player, Stage
from ...samplers.ode import VectorField, euler, heun
from ...spaces import Space, Tree
from .. import FamilyConfig, families


class EDM(nn.Module):
    """Denoiser D(x; sigma) = c_skip x + c_out F(c_in x; c_noise) on rows (B, D), and the sampler of its ODE."""

    def __init__(self, config: EDMConfig, layout: Layout, network: nn.Module) -> None:
        super().__init__()
        self.config, self.layout, self.network = config, layout, network

    def precondition(self, x: Tensor, sigma: Tensor, context: Tensor | None) -> Tensor:
        """D(x; sigma) for rows x (B, D), noise levels sigma (B,) and context (B, C), eq. 7."""
        data = self.config.sigma_data
        total = (sigma.square() + data**2).sqrt()[:, None]
        noise_level = sigma[:, None]
        raw = self.network(x / total, sigma.log() / 4, context)
        return (data / total) ** 2 * x + noise_level * data / total * raw

    def denoise(self, x: Tensor, sigma: Tensor, condition: Tree | None = None) -> Tensor:
        """E[clean | clean + sigma n = x] for rows x (B, D) and sigma (B,)."""
        return self.precondition(x, sigma, self.layout.context(condition, x))

    def times(self) -> list[float]:
        """Noise levels of the sampler, falling, the last one zero, eq. 5."""
        config = self.config
        high, low = config.sigma_max ** (1 / config.rho), config.sigma_min ** (1 / config.rho)
        ramp = [i / (config.steps - 1) for i in range(config.steps)]
        return [(high + part * (low - high)) ** config.rho for part in ramp] + [0.0]

    def start(self, z: Tensor) -> Tensor:
        """Where the sampler puts standard normal rows (B, D)."""
        return self.config.sigma_max * z

    def field(self, context: Tensor | None) -> VectorField:
        """dx/dsigma given context (B, C), eq. 4."""
        return lambda x, sigma: (x - self.precondition(x, sigma, context)) / sigma[:, None]

    def integrate(self, x: Tensor, times: Sequence[float], context: Tensor | None) -> Tensor:
        """Integrate rows x (B, D) along some of the noise levels."""
        if times[-1] > 0:
            return heun(self.field(context), x, times)
        # the slope is not defined at zero noise: a last step by Euler, as in algorithm 1
        return euler(self.field(context), heun(self.field(context), x, times[:-1]), times[-2:])

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Draw n samples; reads the noise "prior" (D,)."""
        z = self.layout.prior(n, noise)
        return self.layout.unflatten(self.integrate(self.start(z), self.times(), self.layout.context(condition, z)))

    def stages(self) -> list[Stage]:
        return [Stage("fit", (Player("model", EDMObjective(self), (self.network,)),))]


class EDMObjective(Objective):
    """Weighted denoising error at log-normal noise levels, eq. 8; a perfectly ignorant network scores one."""

    def __init__(self, model: EDM) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        model, config = self.model, self.model.config
        x = model.layout.flatten(batch.x)
        sigma = (config.log_mean + config.log_std * noise.normal("level")).exp()
        noisy = x + sigma[:, None] * model.layout.prior(x.shape[0], noise)
        clean = model.precondition(noisy, sigma, model.layout.context(batch.condition, x))
        weight = (sigma.square() + config.sigma_data**2) / (sigma * config.sigma_data).square()
        return Losses(weight * (clean - x).square().mean(dim=1))


@families.register("edm")
class EDMConfig(FamilyConfig):
    """Denoising diffusion with EDM's preconditioning."""

    summary: ClassVar[str] = "denoiser over a range of noise levels, sampled by Heun's method"
    reference: ClassVar[str] = "Karras et al., arXiv:2206.00364"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "product")
    model: ClassVar[type[nn.Module]] = EDM
    tolerance: ClassVar[str] = "ode"

    kind: Literal["edm"] = "edm"
    network: AnyNetwork = ResidualConfig()
    sigma_data: float = Field(default=1.0, gt=0, description="standard deviation of the data, in their units")
    log_mean: float = Field(
        default=-0.5, description="mean of ln(noise level) in training; the paper's -1.2 is for sigma_data 0.5"
    )
    log_std: float = Field(default=1.2, gt=0, description="standard deviation of ln(noise level) in training")
    sigma_max: float = Field(default=80.0, gt=0, description="noise level at which sampling starts")
    sigma_min: float = Field(default=0.002, gt=0, description="last noise level before zero")
    rho: float = Field(default=7.0, gt=0, description="how much finer the steps are at small noise")
    steps: int = Field(default=18, ge=2, description="steps of the sampler; 2 steps - 1 evaluations")

    def build(self, space: Space, condition: Space | None = None) -> EDM:
        network: NetworkConfig = self.network
        return EDM(self, Layout(space, condition), network.build(space, condition, time=True))

    @classmethod
    def example(cls) -> EDMConfig:
        return cls(network=ResidualConfig(width=16, depth=1), steps=4)
