"""The abstract base of models whose ODE carries noise to data: samples, codes and density from a vector field."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any, Self, final

from torch import Tensor, nn

from ..bases import Base, Normal
from ..context import Context
from ..data import Batch
from ..errors import ConfigError
from ..layout import Layout
from ..nets import at
from ..noise import Noise
from ..objective import Losses, Objective, Player, Stage
from ..samplers.callbacks import Callback
from ..samplers.likelihood import ode_log_prob
from ..samplers.ode import Integrator, VectorField
from ..spaces import Space, Tree
from .guidance import OptionalLayout
from .sampling import SamplerConfig, changed, share


class ODEModel(nn.Module, ABC):
    """A vector field on flattened samples (B, D) that carries noise of `scale` times a base at t0 to data at t1.

    A subclass defines `field` and its stages of training; nothing else is overridden. `sample` takes the steps of the
    sampler, with its guidance. `encode`, `decode` and `log_prob` take adaptive steps along the field as fitted;
    `log_prob` needs D backward passes per evaluation of the field.

    Args:
        layout: flattens samples and embeds conditions.
        network: a backbone, x (B, D), t (B,) and context to (B, D).
        sampler: options of `sample`.
        adaptive_integrator: of `encode`, `decode` and `log_prob`.
        t0: time of the noise.
        t1: time of the data.
        scale: factor on the base's draws; the base's standard deviation is one or so.
        base: distribution of the codes; independent standard normals if not given.
        likelihood_notes: caveats to report with a likelihood, beside the base.

    Raises:
        ConfigError: guidance, where conditions cannot be left out.

    >>> import torch
    >>> from maquette.core.families.sampling import ODESamplerConfig
    >>> from maquette.core.samplers.ode import dopri5
    >>> from maquette.core.spaces import Vector
    >>> class Growth(ODEModel):
    ...     def field(self, context):
    ...         return lambda x, t: x  # dx/dt = x: samples are e times the noise
    >>> layout = Layout(Vector(dim=1))
    >>> model = Growth(layout, nn.Identity(), sampler=ODESamplerConfig(steps=2), adaptive_integrator=dopri5)
    >>> model
    Growth(
      t0=0, t1=1, scale=1, steps=2
      (network): Identity()
      (base): Normal(features=1)
    )
    >>> model.decode(torch.tensor([[1.0]]))
    tensor([[2.7183]])
    """

    config: Any

    def __init__(
        self,
        layout: Layout,
        network: nn.Module,
        *,
        sampler: SamplerConfig,
        adaptive_integrator: Integrator,
        t0: float = 0.0,
        t1: float = 1.0,
        scale: float = 1.0,
        base: Base | None = None,
        likelihood_notes: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.layout, self.network = layout, network
        self.adaptive_integrator = adaptive_integrator
        self.t0, self.t1, self.scale = t0, t1, scale
        self.base: Base = Normal(layout) if base is None else base
        self.likelihood_notes = (self.base.description, *likelihood_notes)
        self.sampler: Any = self._accepted(sampler)

    @abstractmethod
    def field(self, context: Context) -> VectorField:
        """The vector field given the context of B conditions."""

    @final
    def with_sampler(self, **overrides: Any) -> Self:
        """A view of the model, sharing its weights, that samples with other options; raises `ConfigError`."""
        return share(self, sampler=self._accepted(changed(self.sampler, overrides)))

    def _accepted(self, sampler: SamplerConfig) -> SamplerConfig:
        if getattr(sampler, "guidance", 0.0) and not isinstance(self.layout, OptionalLayout):
            raise ConfigError(
                "sampler.guidance: this model always had its condition in training; fit one with drop=0.1 or so."
            )
        return sampler

    @property
    def times(self) -> list[float]:
        """Schedule of the sampler, from noise to data."""
        return self.sampler.times(self.t0, self.t1)

    @final
    def at(self, space: Space) -> Self:
        """The model of samples of another grid, sharing its weights; field conditions move to that grid too.

        Raises:
            ConfigError: a network or a base whose weights belong to one grid.

        >>> from maquette.core.families.diffusion.flow_matching import FlowMatchingConfig
        >>> from maquette.core.nets.unet import UNetConfig
        >>> from maquette.core.spaces import Field
        >>> network = UNetConfig(widths=(4,), strides=(), groups=2, attention=())
        >>> model = FlowMatchingConfig(network=network).build(Field(channels=1, grid=(8,)))
        >>> model.at(Field(channels=1, grid=(12,))).layout.features
        12
        """
        layout = self.layout.at(space)
        network = at(self.network, space)
        if any(True for _ in self.base.parameters()):
            raise ConfigError(f"at: the weights of {type(self.base).__name__} belong to one grid; take another base.")
        return share(self, layout=layout, network=network, base=self.config.base.build(layout))

    @final
    def velocity(self, x: Tensor, t: Tensor, condition: Tree | None = None) -> Tensor:
        """dx/dt (B, D) at flattened samples x (B, D) and times t (B,) between t0 and t1."""
        return self.field(self.layout.context(condition, x))(x, t)

    @final
    def start(self, z: Tensor) -> Tensor:
        """The state (B, D) at t0 of codes z (B, D), draws of the base."""
        return z if self.scale == 1 else self.scale * z

    @final
    def guided(self, context: Context) -> VectorField:
        """The field that the sampler follows: (1 + w) v(x | c) - w v(x), with the sampler's guidance w.

        Ho & Salimans, arXiv:2207.12598, eq. 6. With w = 0 it is `field` itself.
        """
        weight, field = getattr(self.sampler, "guidance", 0.0), self.field(context)
        if weight == 0:
            return field

        def mixed(x: Tensor, t: Tensor) -> Tensor:
            free = self.field(self.layout.context(None, x))(x, t)
            return free if weight == -1 else (1 + weight) * field(x, t) - weight * free

        return mixed

    @final
    def integrate(
        self, x: Tensor, times: Sequence[float], context: Context, callback: Callback | None = None
    ) -> Tensor:
        """Take the steps between `times`, all or some of the sampler's, from states x (B, D)."""
        return self.sampler.integrator(self.guided(context), x, times, callback=callback)

    @final
    def draw(self, n: int, condition: Tree | None, noise: Noise, temperature: float = 1.0) -> tuple[Tensor, Context]:
        """Codes (n, D), and the context of n conditions; reads the noise "prior" (D,)."""
        white = self.base.white(n, noise)
        context = self.layout.context(condition, white)
        return self.base.color(white if temperature == 1 else temperature * white, context.vector), context

    @final
    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise, callback: Callback | None = None) -> Tree:
        """Draw n samples; reads the noise "prior" (D,). `callback` gets the state (n, D) after each step."""
        z, context = self.draw(n, condition, noise, self.sampler.temperature)
        return self.layout.unflatten(self.integrate(self.start(z), self.times, context, callback))

    @final
    def encode(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """The code of x: the draw z (B, D) of the base that the ODE carries to x."""
        flat = self.layout.flatten(x)
        field = self.field(self.layout.context(condition, flat))
        return self.adaptive_integrator(field, flat, (self.t1, self.t0)) / self.scale

    @final
    def decode(self, z: Tensor, condition: Tree | None = None) -> Tree:
        """The sample to which the ODE carries the code z (B, D)."""
        field = self.field(self.layout.context(condition, z))
        return self.layout.unflatten(self.adaptive_integrator(field, self.start(z), (self.t0, self.t1)))

    @final
    def log_prob(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """Log-density of the samples that `decode` makes of draws of the base, (B,), nats."""
        flat = self.layout.flatten(x)
        context = self.layout.context(condition, flat)
        return ode_log_prob(
            self.field(context),
            flat,
            t0=self.t0,
            t1=self.t1,
            scale=self.scale,
            base=partial(self.base.log_prob, context=context.vector),
            integrate=self.adaptive_integrator,
        )

    @final
    def stages_after_base(self, stage: Stage) -> list[Stage]:
        """The stage of the field; before it, if the base has weights, a stage "base" that fits them to the data.

        A regression on paths from the base cannot fit them: it is least where all noise is one point.
        """
        if not any(True for _ in self.base.parameters()):
            return [stage]
        return [Stage("base", (Player("base", BaseObjective(self), (self.base,)),)), stage]

    @final
    def extra_repr(self) -> str:
        return f"t0={self.t0:g}, t1={self.t1:g}, scale={self.scale:g}, steps={len(self.times) - 1}"


class BaseObjective(Objective):
    """Negative log-likelihood (B,) of the data under the base itself, per feature, nats.

    >>> import torch
    >>> from maquette.core.families.diffusion.flow_matching import FlowMatchingConfig
    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> model, index = FlowMatchingConfig().build(Vector(dim=2)), torch.arange(1)
    >>> BaseObjective(model)(Batch(torch.zeros(1, 2), None, index), KeyedNoise(0, index)).losses  # 1/2 log 2 pi
    tensor([0.9189])
    """

    def __init__(self, model: ODEModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        layout = self.model.layout
        x = layout.flatten(batch.x)
        return Losses(-self.model.base.log_prob(x, layout.context(batch.condition, x).vector) / layout.features)
