"""Importance-weighted bounds: log p(x) from many draws of a model that bounds it from one.

Burda, Grosse & Salakhutdinov, "Importance weighted autoencoders", arXiv:1509.00519: the log of the mean of K
weights is a lower bound on the mean, rises with K, and reaches log p(x) if p(x) is what the weights are on the mean.
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
    """Bounds with what they are worth, each (B,).

    Attributes:
        value: log of the mean weight, nats.
        error: its standard error over draws by the delta method, nats; trust it only while `effective` is not small.
        effective: effective number of draws, (sum w)^2 / sum w^2.
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
    """Bound log p(x | condition) by `draws` weights per sample; memory does not grow with their number.

    Args:
        model: its one-draw bounds are lower ones.
        x: samples, leading axis B.
        condition: one row per sample.
        noise: of B rows; draw k reads it folded under "draw/k".
        draws: K, at least 1; with one the error is not a number.

    Raises:
        ValueError: a model whose bounds are upper ones.
    """
    if model.direction != "lower":
        raise ValueError("The mean of weights bounds the log-density from below; this model bounds it from above.")
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
