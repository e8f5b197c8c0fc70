"""Mixtures of laws with two shapes each, and what every mixture shares: the choice of a component."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class Component(Protocol):
    """A density of one number with two shapes; leading axes (...) are any, the same for all arguments.

    Attributes:
        uniforms: U, uniform numbers that a draw takes.
    """

    @property
    def uniforms(self) -> int: ...

    def embed(self, x: Tensor, like: Tensor) -> Tensor:
        """Numbers x (...) as a network sees them, (..., 1) in the dtype of `like`."""
        ...

    def shapes(self, one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
        """What a network gives (...) to the two shapes, within their bounds."""
        ...

    def log_prob(self, one: Tensor, two: Tensor, x: Tensor) -> Tensor:
        """log p(x | shapes), nats; broadcasts."""
        ...

    def draw(self, one: Tensor, two: Tensor, u: Tensor) -> Tensor:
        """Numbers (...) from shapes (...) and uniform numbers u (..., U)."""
        ...

    def mean(self, one: Tensor, two: Tensor) -> Tensor:
        """Expectation of x given the shapes, (...)."""
        ...


@dataclass(frozen=True)
class Mixture:
    """sum_k w_k p(x; a_k, b_k): K logits of the weights, then what gives the K first shapes, then the K second ones.

    Args:
        component: p.
        components: K; with one, the mixture is p itself.
    """

    component: Component
    components: int
    embed_dim: int = 1
    discrete: bool = False

    @property
    def parameters(self) -> int:
        return 3 * self.components

    @property
    def uniforms(self) -> int:
        return 1 + self.component.uniforms

    def embed(self, x: Tensor, like: Tensor) -> Tensor:
        return self.component.embed(x, like)

    def _pieces(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights and both shapes, each (..., K)."""
        logits, one, two = parameters.chunk(3, dim=-1)
        return logits.log_softmax(-1), *self.component.shapes(one, two)

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        weights, one, two = self._pieces(parameters)
        return (weights + self.component.log_prob(one, two, x.unsqueeze(-1))).logsumexp(-1)

    def draw(self, parameters: Tensor, u: Tensor) -> Tensor:
        weights, one, two = self._pieces(parameters)
        k = choose(weights, u[..., 0])
        return self.component.draw(one.gather(-1, k).squeeze(-1), two.gather(-1, k).squeeze(-1), u[..., 1:])

    def mean(self, parameters: Tensor) -> Tensor:
        weights, one, two = self._pieces(parameters)
        return (weights.exp() * self.component.mean(one, two)).sum(-1)


def choose(log_weights: Tensor, u: Tensor) -> Tensor:
    """Components (..., 1), int64, by inversion: log weights (..., K) and one uniform number each (...)."""
    edges = log_weights.exp().cumsum(-1)[..., :-1]
    return (u.unsqueeze(-1) > edges).sum(-1, keepdim=True)
