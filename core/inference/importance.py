"""Importance-weighted bounds: a model that bounds log p(x) with one draw gives a tighter bound with many.

Burda, Grosse & Salakhutdinov, "Importance weighted autoencoders", arXiv:1509.00519: the expectation of the logarithm of
the mean of K importance weights is a lower bound on log p(x). It rises with K, and tends to log p(x) if the expectation
of a weight is p(x).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..capabilities import Bounded
from ..noise import Noise
from ..spaces import Tree


@dataclass(frozen=True)
class ImportanceBound:
    """Bounds with their errors, each (B,).

    Attributes:
        value: log of the mean weight, nats.
        error: its standard error over draws by the delta method, nats; unreliable if `effective` is small.
        effective: effective sample size, (sum w)^2 / sum w^2.
        draws: K.
    """

    value: Tensor
    error: Tensor
    effective: Tensor
    draws: int


@torch.no_grad()
def importance_bound(
    model: Bounded, x: Tree, condition: Tree | None = None, *, noise: Noise, draws: int
) -> ImportanceBound:
    """Bound log p(x | condition) with `draws` weights per sample; memory does not grow with their number.

    Args:
        model: one with a lower bound.
        x: samples, leading axis B.
        condition: one row per sample.
        noise: of batch size B; draw k reads it folded under "draw/k".
        draws: K, at least 1; with one the error is NaN.

    Raises:
        ValueError: a model with upper bounds, or fewer than one draw.

    >>> from maquette.core.families.vae.vae import VAEConfig
    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> model, noise = VAEConfig.example().build(Vector(dim=3)), KeyedNoise(0, torch.arange(5))
    >>> found = importance_bound(model, torch.zeros(5, 3), noise=noise, draws=10)
    >>> isinstance(found, ImportanceBound), found.value.shape, bool((found.effective <= 10).all())
    (True, torch.Size([5]), True)
    """
    if model.direction != "lower":
        raise ValueError("Importance weights bound the log-density from below; this model bounds it from above.")
    total = squares = None
    for k in range(draws):
        weight = model.log_bound(x, condition, noise=noise.fold(f"draw/{k}"))
        total = weight if total is None else torch.logaddexp(total, weight)
        squares = 2 * weight if squares is None else torch.logaddexp(squares, 2 * weight)
    if total is None or squares is None:
        raise ValueError(f"expected at least one draw per sample, found {draws}.")
    effective = torch.exp(2 * total - squares)
    value = total - torch.log(total.new_tensor(draws))
    # Var(w) / (K mean(w)^2), with the unbiased variance
    error = ((draws / effective - 1).clamp(min=0) / effective.new_tensor(draws - 1)).sqrt()
    return ImportanceBound(value, error, effective, draws)
