"""What mixtures share: the choice of a component."""

from __future__ import annotations

from torch import Tensor


def choose(log_weights: Tensor, u: Tensor) -> Tensor:
    """Components (..., 1), int64, by inversion: log weights (..., K) and one uniform number each (...)."""
    edges = log_weights.exp().cumsum(-1)[..., :-1]
    return (u.unsqueeze(-1) > edges).sum(-1, keepdim=True)
