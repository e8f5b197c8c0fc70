"""Laws of models along an ODE: velocity, denoiser, codes and density belong to one another.

>>> from maquette.core.families.diffusion.edm import EDMConfig
>>> from maquette.core.families.diffusion.flow_matching import FlowMatchingConfig
>>> from maquette.core.spaces import Vector
>>> check_velocity(FlowMatchingConfig.example(), Vector(dim=1), None)  # holds: nothing is raised
>>> check_denoise(EDMConfig.example(), Vector(dim=1), None)
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ...data import map_tree
from ...families import FamilyConfig
from ...spaces import Space, Tree, flatten
from ..bench import TOLERANCES, assert_near, batch_of, shared
from .invertible import base_density

_ACCURACY = 1e-6
_STEP = 1e-4


def check_velocity(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """Along the flow of `velocity`, samples become their codes, and d log p / dt is minus the divergence.

    The path from data to noise is integrated here with another integrator than the model's, and the divergence is
    taken by central differences.
    """
    model, batch, n = shared(config, space, condition), batch_of(space, condition, 4), 4
    x = flatten(space, batch.x)
    steps = _STEP * torch.cat((torch.zeros(1, x.shape[1]), torch.eye(x.shape[1]), -torch.eye(x.shape[1]))).to(x)
    c = map_tree(lambda t: t.repeat(len(steps), *(1,) * (t.ndim - 1)), batch.condition)

    def change(t: Tensor, state: Tensor) -> Tensor:
        points = (state[:, :-1] + steps[:, None]).flatten(0, 1)
        v = model.velocity(points, t.expand(len(points)), c).unflatten(0, (len(steps), n))
        up, down = v[1:].chunk(2)
        divergence = torch.stack([(up[i] - down[i])[:, i] for i in range(x.shape[1])]).sum(0) / (2 * _STEP)
        return torch.cat((v[0], divergence[:, None]), dim=1)

    from torchdiffeq import odeint  # here, because only this law needs it

    with torch.no_grad():
        start = torch.cat((x, torch.zeros_like(x[:, :1])), dim=1)
        ends = x.new_tensor([model.t1, model.t0])
        path = odeint(change, start, ends, rtol=_ACCURACY, atol=_ACCURACY, method="dopri8")
        assert isinstance(path, Tensor)
        z, gained = path[-1][:, :-1] / model.scale, path[-1][:, -1]
        tolerance = max(TOLERANCES[config.tolerance], 1e-4)
        assert_near(model.encode(batch.x, batch.condition), z, tolerance, "the end of the path and the code")
        expected = base_density(model, z, batch.condition) - x.shape[1] * math.log(model.scale) + gained
        assert_near(model.log_prob(batch.x, batch.condition), expected, tolerance, "log p along the path")


def check_denoise(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """A denoiser returns what has no noise as it is, and (x - D(x; s)) / s is the velocity at noise level s."""
    model, batch, n = shared(config, space, condition), batch_of(space, condition, 8), 8
    x, tolerance = flatten(space, batch.x), TOLERANCES[config.tolerance]
    with torch.no_grad():
        little = x.new_full((n,), 1e-6)
        assert_near(model.denoise(x, little, batch.condition), x, 1e-4, "denoised without noise")
        for part in (0.0, 0.5, 1.0):
            sigma = x.new_full((n,), model.t0 ** (1 - part) * model.t1**part)
            noisy = x * (1 + sigma[:, None])
            clean = model.denoise(noisy, sigma, batch.condition)
            v = model.velocity(noisy, sigma, batch.condition)
            assert_near((noisy - clean) / sigma[:, None], v, tolerance, "velocity by the denoiser")


def check_tweedie(model: Any, x: Tree, condition: Tree | None, *, tolerance: float = 1e-4) -> None:
    """The denoiser of a model that has learnt its data gives the score: (D(x; s) - x) / s^2 = d log p_s / dx.

    Robbins 1956; Efron, JASA 106 (2011) 1602. p_s is the density of data with noise of standard deviation s = t1, which
    is the model's `log_prob`, and its derivatives are central differences. A model that has not learnt its data owes
    this to nobody, so it is not among `LAWS`.

    Args:
        model: one that denoises and has a density, with normal noise.
        x: flattened samples (B, D).
        condition: one row per sample.
        tolerance: of the score, relative.

    >>> from types import SimpleNamespace
    >>> from maquette.core.samplers.likelihood import normal_log_density
    >>> exact = SimpleNamespace(  # of data N(0, 1)
    ...     t1=0.5,
    ...     denoise=lambda x, sigma, condition: x / (1 + sigma**2)[:, None],
    ...     log_prob=lambda x, condition: normal_log_density(x, 1.25**0.5),
    ... )
    >>> check_tweedie(exact, torch.tensor([[0.3, -1.0]], dtype=torch.float64), None)
    """
    assert isinstance(x, Tensor)
    with torch.no_grad():
        sigma = x.new_full((len(x),), model.t1)
        score = (model.denoise(x, sigma, condition) - x) / sigma[:, None] ** 2
        for i, step in enumerate(1e-3 * torch.eye(x.shape[1]).to(x)):
            slope = (model.log_prob(x + step, condition) - model.log_prob(x - step, condition)) / 2e-3
            assert_near(score[:, i], slope, tolerance, f"score of feature {i}")
