"""Bernoulli distribution: zero or one, given a logit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ..spaces import Binary, Support
from . import LikelihoodConfig, likelihoods


@dataclass(frozen=True)
class Bernoulli:
    """p(1) = sigmoid(logit).

    >>> Bernoulli().draw(torch.zeros(2, 1), torch.tensor([[0.2], [0.7]]))
    tensor([1., 0.])
    """

    parameters: int = field(default=1, repr=False)
    embed_dim: int = field(default=1, repr=False)
    uniforms: int = field(default=1, repr=False)
    discrete: bool = field(default=True, repr=False)
    count: int = field(default=2, repr=False)

    def embed(self, x: Tensor, like: Tensor) -> Tensor:
        return x.to(like.dtype).unsqueeze(-1)

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        logit = parameters.squeeze(-1)
        return F.logsigmoid(torch.where(x > 0.5, logit, -logit))

    def log_masses(self, parameters: Tensor) -> Tensor:
        return F.logsigmoid(torch.cat((-parameters, parameters), dim=-1))

    def restrict(self, parameters: Tensor, allowed: Tensor) -> Tensor:
        zero, one = (torch.where(each, 0.0, torch.inf).to(parameters.dtype) for each in allowed.split(1, dim=-1))
        return parameters + zero - one  # NaN, which is no distribution, where neither is allowed

    def draw(self, parameters: Tensor, u: Tensor) -> Tensor:
        return (u < torch.sigmoid(parameters)).to(parameters.dtype).squeeze(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        return torch.sigmoid(parameters).squeeze(-1)


@likelihoods.register("bernoulli")
class BernoulliConfig(LikelihoodConfig):
    """Bernoulli distribution.

    >>> BernoulliConfig().build(Binary()).log_prob(torch.zeros(1), torch.tensor(1.0))  # a fair coin: -log 2
    tensor(-0.6931)
    """

    summary: ClassVar[str] = "zero or one"
    supports: ClassVar[tuple[type[Support], ...]] = (Binary,)
    default_for: ClassVar[tuple[type[Support], ...]] = (Binary,)

    kind: Literal["bernoulli"] = "bernoulli"

    def build(self, support: Support) -> Bernoulli:
        self.require(support, Binary)
        return Bernoulli()
