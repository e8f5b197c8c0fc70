"""What models that carry noise to data along an ODE share: sampler, code and density of a velocity field."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ..layout import Layout
from ..noise import Noise
from ..samplers.likelihood import exact_divergence, ode_log_prob
from ..samplers.ode import INTEGRATORS, Method, VectorField, dopri5
from ..samplers.schedules import linear_schedule
from ..spaces import Tree


class ODEModel(nn.Module):
    """Velocity field on rows (B, D) from a standard normal at t = 0 to data at t = 1.

    `sample` follows the ODE with fixed steps; `encode`, `decode` and `log_prob` follow it exactly (up to `precision`),
    the latter with D backward passes per evaluation.

    Args:
        layout: how samples and conditions become rows.
        network: a backbone, (x (B, D), t (B,), context (B, C)) to velocities (B, D).
        method: integrator of the sampler.
        steps: of the sampler.
        precision: of the adaptive integrator.
    """

    def __init__(self, layout: Layout, network: nn.Module, *, method: Method, steps: int, precision: float) -> None:
        super().__init__()
        self.layout, self.network = layout, network
        self.method: Method = method
        self.steps, self.precision = steps, precision

    def velocity(self, x: Tensor, t: Tensor, condition: Tree | None = None) -> Tensor:
        """dx/dt (B, D) at rows x (B, D) and times t (B,) in [0, 1]."""
        return self.field(self.layout.context(condition, x))(x, t)

    @property
    def likelihood_notes(self) -> tuple[str, ...]:
        return ("normal base",)

    def times(self) -> list[float]:
        """Times of the sampler, from noise to data."""
        return linear_schedule(0.0, 1.0, self.steps)

    def start(self, z: Tensor) -> Tensor:
        """Where the sampler puts standard normal rows (B, D)."""
        return z

    def field(self, context: Tensor | None) -> VectorField:
        """The velocity given context (B, C), as from `Layout.columns`."""
        return lambda x, t: self.network(x, t, context)

    def integrate(self, x: Tensor, times: Sequence[float], context: Tensor | None) -> Tensor:
        """Integrate rows x (B, D) along some of the sampler's times."""
        return INTEGRATORS[self.method](self.field(context), x, times)

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Draw n samples; reads the noise "prior" (D,)."""
        z = self.layout.prior(n, noise)
        return self.layout.unflatten(self.integrate(self.start(z), self.times(), self.layout.context(condition, z)))

    def encode(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """The noise (B, D) that the ODE carries to x."""
        rows = self.layout.flatten(x)
        field = self.field(self.layout.context(condition, rows))
        return dopri5(field, rows, (1.0, 0.0), tolerance=self.precision)

    def decode(self, z: Tensor, condition: Tree | None = None) -> Tree:
        """The sample that the exact ODE makes of noise z (B, D)."""
        field = self.field(self.layout.context(condition, z))
        return self.layout.unflatten(dopri5(field, z, (0.0, 1.0), tolerance=self.precision))

    def log_prob(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """Log-density of the exact ODE, shape (B,), nats."""
        rows = self.layout.flatten(x)
        field = self.field(self.layout.context(condition, rows))
        return ode_log_prob(field, rows, divergence=exact_divergence, tolerance=self.precision)
