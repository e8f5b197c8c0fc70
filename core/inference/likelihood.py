"""Log-likelihood of models that carry a standard normal to data along an ODE."""

from __future__ import annotations

from torch import Tensor

from ..capabilities import Velocity
from ..noise import Noise
from ..samplers.likelihood import exact_divergence, hutchinson, ode_log_prob
from ..spaces import Tree


def log_prob(
    model: Velocity, x: Tensor, condition: Tree | None = None, *, noise: Noise | None = None, tolerance: float = 1e-5
) -> Tensor:
    """Log-density of rows x (B, D) under the ODE of a model, shape (B,), nats.

    Args:
        model: its velocity carries a standard normal at t = 0 to data at t = 1.
        x: flattened samples.
        condition: one row per sample.
        noise: if given, the divergence is estimated without bias with one probe per sample
            (Hutchinson); otherwise it is exact, at D backward passes per evaluation.
        tolerance: of the adaptive integrator, absolute and relative.
    """
    divergence = exact_divergence if noise is None else hutchinson(noise.normal("probe", tuple(x.shape[1:])))
    return ode_log_prob(lambda x, t: model.velocity(x, t, condition), x, divergence=divergence, tolerance=tolerance)
