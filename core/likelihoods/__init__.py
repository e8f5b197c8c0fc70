"""Laws of single numbers, whose parameters a network gives: what autoregressive models and decoders end in.

A likelihood is stateless. With P parameters per number it scores numbers and draws them from uniform ones; how a
network sees a number is its affair as well. Configs choose one by `kind`; `likelihood_of` finds the usual one of a
support.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, Protocol, runtime_checkable

import torch
from pydantic import SerializeAsAny
from torch import Tensor

from ..config import Config, kind_of
from ..errors import ConfigError
from ..registry import ByKind, Registry
from ..spaces import Binary, Interval, Levels, Real, Support

SUPPORTS = (Real, Interval, Binary, Levels)
"""Supports of which there may be a law of single numbers: what models that end in one take."""


@runtime_checkable
class Likelihood(Protocol):
    """The law of one number x given P parameters; leading axes (...) are any, the same for all arguments.

    Attributes:
        parameters: P, how many a network has to give per number; all zero is a sensible start.
        columns: K, in how many numbers a network sees x.
        uniforms: U, uniform numbers that a draw takes.
        discrete: whether `log_prob` is that of a mass (true) or of a density.
    """

    @property
    def parameters(self) -> int: ...
    @property
    def embed_dim(self) -> int: ...
    @property
    def uniforms(self) -> int: ...
    @property
    def discrete(self) -> bool: ...

    def embed(self, x: Tensor, like: Tensor) -> Tensor:
        """Numbers x (...) as a network sees them, (..., K) in the dtype of `like`."""
        ...

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        """log p(x | parameters (..., P)), shape (...), nats."""
        ...

    def draw(self, parameters: Tensor, u: Tensor) -> Tensor:
        """Numbers (...) in the dtype of their space from parameters (..., P) and uniform numbers u (..., U)."""
        ...

    def mean(self, parameters: Tensor) -> Tensor:
        """Expectation of x, (...), floating."""
        ...


def at_least_float32(parameters: Tensor) -> Tensor:
    """What a network gave, in float32 at least: autocast networks speak bfloat16, of too few digits for any law."""
    return parameters.to(torch.promote_types(parameters.dtype, torch.float32))


@runtime_checkable
class Discrete(Likelihood, Protocol):
    """A law of integer levels, all of which can be listed."""

    def log_masses(self, parameters: Tensor) -> Tensor:
        """log p(k | parameters (..., P)) of every level k, (..., levels), nats."""
        ...


class LikelihoodConfig(Config):
    """Base of every likelihood's config; the subclass adds `kind: Literal[...]` and its own keys.

    Attributes:
        summary: one line for listings.
        supports: the supports it is a law on; it is the usual one of the supports in `usual`.
    """

    summary: ClassVar[str]
    supports: ClassVar[tuple[type[Support], ...]]
    usual: ClassVar[tuple[type[Support], ...]] = ()

    @abstractmethod
    def build(self, support: Support) -> Likelihood:
        """Return the law on a support; raises `ConfigError` if it is none there."""

    def require(self, support: Support) -> None:
        """Raise `ConfigError` unless this is a law on `support`."""
        if not isinstance(support, self.supports):
            kinds = [kind_of(known) for known in self.supports]
            raise ConfigError(f"{kind_of(self)}: a law of {' or '.join(kinds)} numbers, found {support.kind} ones.")


likelihoods: Registry[type[LikelihoodConfig]] = Registry("likelihood", package=__name__, group="maquette.likelihoods")

AnyLikelihood = Annotated[SerializeAsAny[LikelihoodConfig], ByKind(likelihoods)]
"""Field type of a config that holds a likelihood's config."""


def likelihood_of(support: Support, config: LikelihoodConfig | None = None) -> Likelihood:
    """The law that a config names on a support; without one the support's usual law.

    Raises:
        ConfigError: the config's law is none on this support, or there is no usual one.
    """
    if config is None:
        usual = [member for _, member in likelihoods.items() if isinstance(support, member.usual)]
        if not usual:
            raise ConfigError(f"There is no usual law of {support.kind} numbers; known: {likelihoods.names()}.")
        config = usual[0]()
    config.require(support)
    return config.build(support)
