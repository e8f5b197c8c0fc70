"""The abstract base of models whose ODE carries noise to data: sampler, code and density of a vector field."""

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

    A subclass gives `field` and its stages of training; nothing else is overridden. `sample` follows the field along
    `times`. `encode`, `decode` and `log_prob` follow it with adaptive steps; `log_prob` takes D backward passes per
    evaluation of the field.

    Args:
        layout: flattens samples and embeds conditions.
        network: a backbone, (x (B, D), t (B,), context (B, C)) to (B, D).
        integrator: of the sampler, along `times`.
        exact_integrator: adaptive, of `encode`, `decode` and `log_prob`.
        times: schedule of the sampler, from noise to data.
        t0: time of the noise.
        t1: time of the data.
        scale: standard deviation of the noise.
        likelihood_notes: caveats to report with a likelihood.
    """

    def __init__(
        self,
        layout: Layout,
        network: nn.Module,
        *,
        integrator: Integrator,
        exact_integrator: Integrator,
        times: Sequence[float],
        t0: float = 0.0,
        t1: float = 1.0,
        scale: float = 1.0,
        likelihood_notes: tuple[str, ...] = ("normal base",),
    ) -> None:
        super().__init__()
        self.layout, self.network = layout, network
        self.integrator, self.exact_integrator, self.times = integrator, exact_integrator, list(times)
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
        """Integrate states x (B, D) along `times`, or a part of them, as the sampler does."""
        return self.integrator(self.field(context), x, times, callback=callback)

    @final
    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise, callback: Callback | None = None) -> Tree:
        """Draw n samples; reads the noise "prior" (D,). `callback` gets the state (n, D) after each step."""
        z = self.layout.prior(n, noise)
        context = self.layout.context(condition, z)
        return self.layout.unflatten(self.integrate(self.start(z), self.times, context, callback))

    @final
    def encode(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """The standard normal noise (B, D) that the ODE carries to x."""
        flat = self.layout.flatten(x)
        field = self.field(self.layout.context(condition, flat))
        return self.exact_integrator(field, flat, (self.t1, self.t0)) / self.scale

    @final
    def decode(self, z: Tensor, condition: Tree | None = None) -> Tree:
        """The sample to which the ODE carries noise z (B, D)."""
        field = self.field(self.layout.context(condition, z))
        return self.layout.unflatten(self.exact_integrator(field, self.start(z), (self.t0, self.t1)))

    @final
    def log_prob(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """Log-density (B,) of what `decode` makes of noise, nats."""
        flat = self.layout.flatten(x)
        field = self.field(self.layout.context(condition, flat))
        return ode_log_prob(field, flat, t0=self.t0, t1=self.t1, scale=self.scale, integrate=self.exact_integrator)

    @final
    def extra_repr(self) -> str:
        return f"t0={self.t0:g}, t1={self.t1:g}, scale={self.scale:g}, steps={len(self.times) - 1}"
