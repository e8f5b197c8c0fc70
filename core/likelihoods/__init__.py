"""Univariate output distributions for autoregressive models and decoders.

A likelihood is the distribution of one scalar given P parameters, which a network computes. It has no state: it scores
values, maps uniform numbers to draws, and embeds values as inputs of a network. Configs choose one by `kind`;
`likelihood_of` finds the default one of a support.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, Protocol, TypeVar, runtime_checkable

import torch
from pydantic import SerializeAsAny
from torch import Tensor

from ..config import Config, kind_of
from ..errors import ConfigError
from ..registry import ByKind, Registry
from ..spaces import Binary, Interval, Levels, Real, Support

SUPPORTS = (Real, Interval, Binary, Levels)
"""Supports for which there are likelihoods, and so those of autoregressive models and decoders."""

S = TypeVar("S", bound=Support)


@runtime_checkable
class Likelihood(Protocol):
    """The distribution of a scalar x given P parameters; leading axes (...) are any, the same for all arguments.

    Attributes:
        parameters: P, how many a network computes for each scalar; all zero is a sensible start.
        embed_dim: K, inputs of a network for each scalar.
        uniforms: U, uniform numbers that a draw takes.
        discrete: whether `log_prob` is the logarithm of a probability mass (true) or of a density.
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
        """Values x (...) as inputs of a network, (..., K) in the dtype of `like`."""
        ...

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        """log p(x | parameters (..., P)), shape (...), nats."""
        ...

    def draw(self, parameters: Tensor, u: Tensor) -> Tensor:
        """Values (...) in the dtype of their space from parameters (..., P) and uniform numbers u (..., U)."""
        ...

    def mean(self, parameters: Tensor) -> Tensor:
        """Expectation of x, (...), floating."""
        ...


def at_least_float32(parameters: Tensor) -> Tensor:
    """Cast to at least float32; bfloat16 is too coarse for log-probabilities.

    >>> at_least_float32(torch.zeros(2, dtype=torch.bfloat16)).dtype
    torch.float32
    """
    return parameters.to(torch.promote_types(parameters.dtype, torch.float32))


@runtime_checkable
class Discrete(Likelihood, Protocol):
    """A distribution of integer levels, all of which can be listed.

    Attributes:
        count: number of levels.
    """

    @property
    def count(self) -> int: ...

    def log_masses(self, parameters: Tensor) -> Tensor:
        """log p(k | parameters (..., P)) of every level k, (..., levels), nats."""
        ...


@runtime_checkable
class Restrictable(Discrete, Protocol):
    """A distribution of levels that stays one of its kind when some levels are excluded."""

    def restrict(self, parameters: Tensor, allowed: Tensor) -> Tensor:
        """Parameters of the distribution given that the level is one of those allowed.

        Args:
            parameters: (..., P); where all levels are allowed, they stay as they are.
            allowed: (..., levels), bool, broadcast over the leading axes.
        """
        ...


class LikelihoodConfig(Config):
    """Base of every likelihood's config; the subclass adds `kind: Literal[...]` and its own keys.

    Attributes:
        summary: one line for listings.
        supports: the supports it is a distribution on.
        default_for: the supports for which it is the default.

    >>> config: LikelihoodConfig = likelihoods.get("gaussian-mixture")(components=2)
    >>> config.build(Real()).parameters
    6
    """

    summary: ClassVar[str]
    supports: ClassVar[tuple[type[Support], ...]]
    default_for: ClassVar[tuple[type[Support], ...]] = ()

    @abstractmethod
    def build(self, support: Support) -> Likelihood:
        """Return the distribution on a support; raises `ConfigError` for a support that it does not take."""

    def require(self, support: Support, kind: type[S] | tuple[type[S], ...]) -> S:
        """Return the support if it is of this kind; raises `ConfigError` otherwise."""
        if not isinstance(support, kind):
            kinds = " or ".join(kind_of(known) for known in self.supports)
            raise ConfigError(f"{kind_of(self)}: a distribution of {kinds} values, found {support.kind} ones.")
        return support


likelihoods: Registry[type[LikelihoodConfig]] = Registry("likelihood", package=__name__, group="maquette.likelihoods")

AnyLikelihood = Annotated[SerializeAsAny[LikelihoodConfig], ByKind(likelihoods)]
"""Field type of a config that holds a likelihood's config."""


def likelihood_of(support: Support, config: LikelihoodConfig | None = None) -> Likelihood:
    """The likelihood that a config names on a support; without a config the support's default one.

    Raises:
        ConfigError: the config's likelihood does not take the support, or the support has no default.

    >>> likelihood = likelihood_of(Levels(count=3))
    >>> likelihood
    Categorical(count=3)
    >>> likelihood.log_prob(torch.zeros(2, likelihood.parameters), torch.tensor([0, 2]))
    tensor([-1.0986, -1.0986])
    """
    if config is None:
        defaults = [member for _, member in likelihoods.items() if isinstance(support, member.default_for)]
        if not defaults:
            raise ConfigError(f"There is no default likelihood of {support.kind} values; known: {likelihoods.names()}.")
        config = defaults[0]()
    return config.build(config.require(support, config.supports))
