"""Categorical distribution: one of several levels, each with its own logit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..spaces import Levels, Support
from . import LikelihoodConfig, likelihoods


@dataclass(frozen=True)
class Categorical:
    """p(k) = softmax(logits)_k; a level is embedded as a one-hot vector.

    Args:
        count: number of levels.

    >>> Categorical(3).draw(torch.zeros(2, 3), torch.tensor([[0.2], [0.7]]))
    tensor([0, 2])
    """

    count: int
    uniforms: int = field(default=1, repr=False)
    discrete: bool = field(default=True, repr=False)

    @property
    def parameters(self) -> int:
        return self.count

    @property
    def embed_dim(self) -> int:
        return self.count

    def embed(self, x: Tensor, like: Tensor) -> Tensor:
        return (x.unsqueeze(-1) == torch.arange(self.count, device=x.device)).to(like.dtype)

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        return self.log_masses(parameters).gather(-1, x.long().unsqueeze(-1)).squeeze(-1)

    def log_masses(self, parameters: Tensor) -> Tensor:
        return parameters.log_softmax(-1)

    def restrict(self, parameters: Tensor, allowed: Tensor) -> Tensor:
        return parameters.masked_fill(~allowed, -torch.inf)

    def draw(self, parameters: Tensor, u: Tensor) -> Tensor:
        # the last value of the distribution function is one up to rounding, and no level lies beyond it
        masses = parameters.softmax(-1)
        drawn = (u > masses.cumsum(-1)[..., :-1]).sum(-1)
        # nor does one of mass zero, if the last levels are excluded
        levels = torch.arange(self.count, device=drawn.device)
        possible = (masses > 0) & (levels <= drawn.unsqueeze(-1))
        return torch.where(possible, levels, 0).amax(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        levels = torch.arange(self.count, device=parameters.device, dtype=parameters.dtype)
        return (parameters.softmax(-1) * levels).sum(-1)


@likelihoods.register("categorical")
class CategoricalConfig(LikelihoodConfig):
    """Categorical distribution.

    >>> CategoricalConfig().build(Levels(count=4)).log_masses(torch.zeros(4)).exp()
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """

    summary: ClassVar[str] = "one of several levels"
    supports: ClassVar[tuple[type[Support], ...]] = (Levels,)
    default_for: ClassVar[tuple[type[Support], ...]] = (Levels,)

    kind: Literal["categorical"] = "categorical"

    def build(self, support: Support) -> Categorical:
        return Categorical(self.require(support, Levels).count)
