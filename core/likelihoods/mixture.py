"""Mixtures of two-parameter distributions, and what every mixture shares: the choice of a component."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor


class Component(Protocol):
    """A density of a scalar with two parameters, such as a location and a scale.

    Leading axes (...) are any, the same for all arguments.

    Attributes:
        uniforms: U, uniform numbers that a draw takes.
    """

    @property
    def uniforms(self) -> int: ...

    def embed(self, x: Tensor, like: Tensor) -> Tensor:
        """Values x (...) as inputs of a network, (..., 1) in the dtype of `like`."""
        ...

    def constrain(self, a: Tensor, b: Tensor, /) -> tuple[Tensor, Tensor]:
        """A network's unbounded outputs (...) to the two parameters, within their bounds."""
        ...

    def log_prob(self, a: Tensor, b: Tensor, x: Tensor, /) -> Tensor:
        """log p(x | parameters), nats; broadcasts."""
        ...

    def draw(self, a: Tensor, b: Tensor, u: Tensor, /) -> Tensor:
        """Values (...) from parameters (...) and uniform numbers u (..., U)."""
        ...

    def mean(self, a: Tensor, b: Tensor, /) -> Tensor:
        """Expectation of x given the parameters, (...)."""
        ...


@dataclass(frozen=True)
class Mixture:
    """sum_k w_k p(x; a_k, b_k).

    Its parameters are K logits of the weights, then K unbounded values of a, then K of b.

    Args:
        component: p.
        components: K; with one, the mixture is p itself.

    >>> import torch
    >>> from maquette.core.likelihoods.gaussian import Gaussian
    >>> mixture = Mixture(Gaussian(), components=2)
    >>> parameters = torch.tensor([0.0, 0.0, -3.0, 3.0, 0.0, 0.0])  # equal weights, means -3 and 3, log scales 0
    >>> mixture.mean(parameters), mixture.log_prob(parameters, torch.tensor(3.0))
    (tensor(0.), tensor(-1.6131))
    """

    component: Component
    components: int
    embed_dim: int = field(default=1, repr=False)
    discrete: bool = field(default=False, repr=False)

    @property
    def parameters(self) -> int:
        return 3 * self.components

    @property
    def uniforms(self) -> int:
        return 1 + self.component.uniforms

    def embed(self, x: Tensor, like: Tensor) -> Tensor:
        return self.component.embed(x, like)

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights and both parameters, each (..., K)."""
        logits, a, b = parameters.chunk(3, dim=-1)
        return logits.log_softmax(-1), *self.component.constrain(a, b)

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        log_weights, a, b = self._split(parameters)
        return (log_weights + self.component.log_prob(a, b, x.unsqueeze(-1))).logsumexp(-1)

    def draw(self, parameters: Tensor, u: Tensor) -> Tensor:
        log_weights, a, b = self._split(parameters)
        k = choose_component(log_weights, u[..., 0])
        return self.component.draw(a.gather(-1, k).squeeze(-1), b.gather(-1, k).squeeze(-1), u[..., 1:])

    def mean(self, parameters: Tensor) -> Tensor:
        log_weights, a, b = self._split(parameters)
        return (log_weights.exp() * self.component.mean(a, b)).sum(-1)


def choose_component(log_weights: Tensor, u: Tensor) -> Tensor:
    """Draw component indices (..., 1), int64, from log weights (..., K) and one uniform number each (...).

    >>> import torch
    >>> choose_component(torch.tensor([0.25, 0.75]).log().expand(2, 2), torch.tensor([0.2, 0.3])).tolist()
    [[0], [1]]
    """
    cumulative = log_weights.exp().cumsum(-1)[..., :-1]
    return (u.unsqueeze(-1) > cumulative).sum(-1, keepdim=True)
