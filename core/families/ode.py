"""The abstract base of models whose ODE carries noise to data: samples, codes and density from a vector field."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

from torch import Tensor, nn

from ..layout import Layout
from ..noise import Noise
from ..samplers.callbacks import Callback
from ..samplers.likelihood import ode_log_prob
from ..samplers.ode import Integrator, VectorField
from ..spaces import Tree


class ODEModel(nn.Module, ABC):
    """A vector field on flattened samples (B, D) that carries N(0, scale^2) at time t0 to data at time t1.

    A subclass defines `field` and its stages of training; nothing else is overridden. `sample` takes the steps between
    `times`. `encode`, `decode` and `log_prob` take adaptive steps; `log_prob` needs D backward passes per evaluation of
    the field.

    Args:
        layout: flattens samples and embeds conditions.
        network: a backbone, x (B, D), t (B,) and context (B, C) to (B, D).
        integrator: of `sample`, with the steps between `times`.
        adaptive_integrator: of `encode`, `decode` and `log_prob`.
        times: schedule of the sampler, from noise to data.
        t0: time of the noise.
        t1: time of the data.
        scale: standard deviation of the noise.
        likelihood_notes: caveats to report with a likelihood.

    >>> import torch
    >>> from maquette.core.samplers.ode import dopri5, rk4
    >>> from maquette.core.spaces import Vector
    >>> class Growth(ODEModel):
    ...     def field(self, context):
    ...         return lambda x, t: x  # dx/dt = x: samples are e times the noise
    >>> layout = Layout(Vector(dim=1))
    >>> model = Growth(layout, nn.Identity(), integrator=rk4, adaptive_integrator=dopri5, times=[0.0, 0.5, 1.0])
    >>> model
    Growth(
      t0=0, t1=1, scale=1, steps=2
      (network): Identity()
    )
    >>> model.decode(torch.tensor([[1.0]]))
    tensor([[2.7183]])
    """

    def __init__(
        self,
        layout: Layout,
        network: nn.Module,
        *,
        integrator: Integrator,
        adaptive_integrator: Integrator,
        times: Sequence[float],
        t0: float = 0.0,
        t1: float = 1.0,
        scale: float = 1.0,
        likelihood_notes: tuple[str, ...] = ("normal base",),
    ) -> None:
        super().__init__()
        self.layout, self.network = layout, network
        self.integrator, self.adaptive_integrator, self.times = integrator, adaptive_integrator, list(times)
        self.t0, self.t1, self.scale = t0, t1, scale
        self.likelihood_notes = likelihood_notes

    @abstractmethod
    def field(self, context: Tensor | None) -> VectorField:
        """The vector field given context (B, C)."""

    @final
    def velocity(self, x: Tensor, t: Tensor, condition: Tree | None = None) -> Tensor:
        """dx/dt (B, D) at flattened samples x (B, D) and times t (B,) between t0 and t1."""
        return self.field(self.layout.context(condition, x))(x, t)

    @final
    def start(self, z: Tensor) -> Tensor:
        """The state (B, D) at t0 of standard normal noise z (B, D)."""
        return z if self.scale == 1 else self.scale * z

    @final
    def integrate(
        self, x: Tensor, times: Sequence[float], context: Tensor | None, callback: Callback | None = None
    ) -> Tensor:
        """Take the steps between `times`, all or some of the sampler's, from states x (B, D)."""
        return self.integrator(self.field(context), x, times, callback=callback)

    @final
    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise, callback: Callback | None = None) -> Tree:
        """Draw n samples; reads the noise "prior" (D,). `callback` gets the state (n, D) after each step."""
        z = self.layout.prior(n, noise)
        context = self.layout.context(condition, z)
        return self.layout.unflatten(self.integrate(self.start(z), self.times, context, callback))

    @final
    def encode(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """The code of x: the noise z (B, D), standard normal, that the ODE carries to x."""
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
        """Log-density of the samples that `decode` makes of standard normal noise, (B,), nats."""
        flat = self.layout.flatten(x)
        field = self.field(self.layout.context(condition, flat))
        return ode_log_prob(field, flat, t0=self.t0, t1=self.t1, scale=self.scale, integrate=self.adaptive_integrator)

    @final
    def extra_repr(self) -> str:
        return f"t0={self.t0:g}, t1={self.t1:g}, scale={self.scale:g}, steps={len(self.times) - 1}"
