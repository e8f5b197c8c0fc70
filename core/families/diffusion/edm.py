"""EDM: a preconditioned denoiser over a range of noise levels, sampled along its probability-flow ODE.

Karras et al., "Elucidating the design space of diffusion-based generative models", arXiv:2206.00364: preconditioning
of table 1, loss of eq. 8, deterministic sampler of algorithm 1 (algorithm 2, with churn, is not here). Equation
numbers below are theirs. The density is that of the same ODE: Song et al., arXiv:2011.13456, section 4.3.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from ...bases import NoiseConfig, NormalConfig
from ...context import Context
from ...data import Batch
from ...errors import ConfigError
from ...layout import Layout
from ...nets import AnyNetwork, NetworkConfig
from ...nets.residual import ResidualConfig
from ...noise import Noise
from ...objective import Losses, Objective, Player, Stage
from ...samplers.ode import VectorField, dopri5, in_log_time, probability_flow
from ...spaces import Space, Tree
from .. import FamilyConfig, families
from ..guidance import context_of_batch, laid_out
from ..ode import ODEModel
from ..sampling import KarrasSamplerConfig


class EDM(ODEModel):
    """Denoiser D(x; sigma) = c_skip x + c_out F(c_in x; c_noise) and its ODE, whose times are noise levels.

    The noise is sigma_max times a draw of the base. The sampler takes a last step from sigma_min to 0; `encode`,
    `decode` and `log_prob` end at sigma_min, because the ODE is not defined at 0: the density is that of data with
    noise of standard deviation sigma_min.

    >>> import torch
    >>> from maquette.core.spaces import Vector
    >>> model: EDM = EDMConfig(network=ResidualConfig(width=8, depth=1)).build(Vector(dim=2))
    >>> [round(level, 3) for level in model.times[:2] + model.times[-2:]]
    [80.0, 57.586, 0.002, 0.0]
    >>> model.denoise(torch.full((1, 2), 3.0), torch.tensor([1.0])).detach()  # untrained, right for data N(0, 1)
    tensor([[1.5000, 1.5000]])
    """

    def __init__(self, config: EDMConfig, layout: Layout, network: nn.Module) -> None:
        super().__init__(
            layout,
            network,
            sampler=config.sampler,
            base=config.base.build(layout),
            t0=config.sigma_max,
            t1=config.sigma_min,
            scale=config.sigma_max,
            adaptive_integrator=in_log_time(partial(dopri5, tolerance=config.precision)),
            likelihood_notes=(f"data with noise of standard deviation {config.sigma_min:g}",),
        )
        self.config = config

    def precondition(self, x: Tensor, sigma: Tensor, context: Context) -> Tensor:
        """D(x; sigma) (B, D) for x (B, D), noise levels sigma (B,) and context, eq. 7."""
        data = self.config.sigma_data
        total = (sigma.square() + data**2).sqrt()[:, None]
        noise_level = sigma[:, None]
        raw = self.network(x / total, sigma.log() / 4, context)
        return (data / total) ** 2 * x + noise_level * data / total * raw

    def denoise(self, x: Tensor, sigma: Tensor, condition: Tree | None = None) -> Tensor:
        """E[clean | clean + sigma n = x] (B, D) for x (B, D) and noise levels sigma (B,)."""
        return self.precondition(x, sigma, self.layout.context(condition, x))

    def field(self, context: Context) -> VectorField:
        """dx/dsigma given context, eqs. 1 and 3."""
        return probability_flow(lambda x, sigma: self.precondition(x, sigma, context))

    def stages(self) -> list[Stage]:
        """One stage, "fit", with one player, "model"."""
        return [Stage("fit", (Player("model", EDMObjective(self), (self.network,)),))]


class EDMObjective(Objective):
    """Weighted denoising error (B,) at log-normal noise levels, eq. 8.

    For normal data of standard deviation sigma_data, a network that returns zeros has a mean loss of one. Reads the
    noise "level" () and "prior" (D,), and "given" () if conditions may be left out.

    >>> import torch
    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> model, index = EDMConfig.example().build(Vector(dim=2)), torch.arange(2000)
    >>> losses = EDMObjective(model)(Batch(torch.randn(2000, 2), None, index), KeyedNoise(0, index)).losses
    >>> bool((losses.mean() - 1).abs() < 0.1)
    True
    """

    def __init__(self, model: EDM) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        model, config = self.model, self.model.config
        x = model.layout.flatten(batch.x)
        context = context_of_batch(model.layout, batch, x, noise, config.drop)
        sigma = (config.log_mean + config.log_std * noise.normal("level")).exp()
        noisy = x + sigma[:, None] * model.base.draw(x.shape[0], noise, context.vector)
        clean = model.precondition(noisy, sigma, context)
        weight = (sigma.square() + config.sigma_data**2) / (sigma * config.sigma_data).square()
        return Losses(weight * (clean - x).square().mean(dim=1))


@families.register("edm")
class EDMConfig(FamilyConfig):
    """Denoising diffusion with EDM's preconditioning.

    >>> import torch
    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> model = EDMConfig(network=ResidualConfig(width=8, depth=1), precision=0.1).build(Vector(dim=2))
    >>> levels = []
    >>> noise = KeyedNoise(0, torch.arange(3))
    >>> x = model.sample(3, noise=noise, callback=lambda done: levels.append(done.time))
    >>> x.shape, len(levels), levels[-1]
    (torch.Size([3, 2]), 18, 0.0)
    >>> model.log_prob(x).shape, model.denoise(x, torch.ones(3)).shape
    (torch.Size([3]), torch.Size([3, 2]))
    """

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
    sigma_min: float = Field(
        default=0.002, gt=0, description="last noise level before zero; log_prob is the density of data with this noise"
    )
    base: NoiseConfig = Field(default=NormalConfig(), description="distribution of the noise at level one")
    drop: float = Field(
        default=0.0, ge=0, lt=1, description="chance in training that a condition is left out, for guidance; 0.1 or so"
    )
    sampler: KarrasSamplerConfig = KarrasSamplerConfig()
    precision: float = Field(
        default=1e-6, gt=0, description="tolerance of the adaptive integrator behind encode, decode and log_prob"
    )

    def build(self, space: Space, condition: Space | None = None) -> EDM:
        if self.sigma_min >= self.sigma_max:
            raise ConfigError(f"edm.sigma_min: expected less than sigma_max, {self.sigma_max}, found {self.sigma_min}.")
        network: NetworkConfig = self.network
        layout = laid_out(space, condition, self.drop)
        return EDM(self, layout, network.build(space, layout.condition, time=True))

    @classmethod
    def example(cls) -> EDMConfig:
        return cls(network=ResidualConfig(width=16, depth=1), sampler=KarrasSamplerConfig(steps=4), precision=3e-6)
