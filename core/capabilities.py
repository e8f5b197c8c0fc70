"""What a model can do: small protocols, most of one method.

There is no base class for models. A family implements the protocols that its mathematics allows, and whatever
one can do with a model (scores, imputation, posterior sampling) is a free function on one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor

from .layout import Layout
from .noise import Noise
from .spaces import Tree


@runtime_checkable
class Sampler(Protocol):
    """Draws samples."""

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Draw `n` samples; `condition` and `noise` have n rows, one draw per row."""
        ...


@runtime_checkable
class Density(Protocol):
    """Knows its exact log-density (up to the numerical tolerance the family declares)."""

    def log_prob(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """Return log p(x | condition), shape (B,), in nats."""
        ...


@runtime_checkable
class UnbiasedDensity(Protocol):
    """Estimates its log-density without bias, for less than the density itself takes."""

    def log_prob_estimate(self, x: Tree, condition: Tree | None = None, *, noise: Noise) -> Tensor:
        """Return an estimate whose mean is log p(x | condition), shape (B,), in nats; so is the gradient's."""
        ...


@runtime_checkable
class Bounded(Protocol):
    """Knows a stochastic bound on its log-density."""

    direction: Literal["lower", "upper"]

    def log_bound(self, x: Tree, condition: Tree | None = None, *, noise: Noise) -> Tensor:
        """Return a one-draw bound on log p(x | condition), shape (B,), in nats."""
        ...


@runtime_checkable
class LikelihoodNotes(Protocol):
    """Says what any figure of its likelihood has to name beside the number."""

    @property
    def likelihood_notes(self) -> tuple[str, ...]:
        """A few words each: the law that codes follow, how levels became real numbers, how many models are mixed."""
        ...


@dataclass(frozen=True)
class ELBO:
    """The terms of an evidence lower bound, log p(x | c) >= E_q log p(x | z, c) - KL(q(z | x, c) || p(z | c)).

    Attributes:
        reconstruction: log p(x | z, c) at one draw of z, (B,), nats.
        divergence: the second term by layer of latent numbers, each (B, groups), nats; sums over all are KL.
    """

    reconstruction: Tensor
    kl: dict[str, Tensor]

    @property
    def bound(self) -> Tensor:
        """The bound itself, (B,), nats."""
        return self.reconstruction - sum(terms.sum(1) for terms in self.kl.values())


@runtime_checkable
class Variational(Protocol):
    """Infers latent numbers, and knows what that costs and brings."""

    def elbo(self, x: Tree, condition: Tree | None = None, *, noise: Noise) -> ELBO:
        """Return the terms of the evidence lower bound at one draw of the latent numbers."""
        ...


@runtime_checkable
class Conditionals(Protocol):
    """Factorises its density number by number: log p(x) = sum_i log p(x[order[i]] | x[order[:i]])."""

    layout: Layout
    likelihood: Any  # a `likelihoods.Likelihood`
    order: Tensor  # (D,): places of the flattened sample in the order in which they are drawn

    def conditionals(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """Return the parameters (B, D, P) of each number's law given those before it, place by place of the row."""
        ...


@runtime_checkable
class Stepwise(Protocol):
    """Gives its conditionals one after the other, as numbers become known, for less than all of them anew each time."""

    def steps(self, n: int, condition: Tree | None = None) -> Callable[[Tensor | None], Tensor]:
        """Begin with n samples; each call gets their last number (n,), None at first, and returns (n, P) of the next.

        Numbers come in `order`. What is returned serves one pass only.
        """
        ...


@runtime_checkable
class Encodes(Protocol):
    """Maps samples to codes and back."""

    def encode(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """Return the code of x, leading axis B."""
        ...

    def decode(self, z: Tensor, condition: Tree | None = None) -> Tree:
        """Return the sample whose code is z."""
        ...


@dataclass(frozen=True)
class Quantised:
    """Codes of samples and what is decoded from them; lists run from the coarsest level to the finest.

    Attributes:
        parameters: likelihood parameters of the decoder, (B, D, P).
        codes: codebook indices, each (B, codes_per_cell, *grid), int64.
        vectors: what was quantised, each (B, codes_per_cell, *grid, d).
        distance: squared distance of vectors from their codebook entries, with a gradient by the vectors alone, (B,).
    """

    parameters: Tensor
    codes: list[Tensor]
    vectors: list[Tensor]
    distance: Tensor


@runtime_checkable
class Quantises(Protocol):
    """Encodes samples by codebook indices, with one codebook for each level of codes."""

    @property
    def codebooks(self) -> Sequence[Any]:
        """Codebooks with `entries` (K, d), the coarsest level's first."""
        ...

    def quantise(self, x: Tree, condition: Tree | None = None) -> Quantised:
        """Find the codes of x, and decode them."""
        ...

    def generate(self, codes: Sequence[Tensor], condition: Tree | None = None) -> Tensor:
        """Return the likelihood parameters (B, D, P) of the samples with `codes`, one tensor for each level."""
        ...


@runtime_checkable
class Energy(Protocol):
    """Knows its log-density up to a constant."""

    def energy(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """Return U(x) with p(x) proportional to exp(-U(x)), shape (B,)."""
        ...


@runtime_checkable
class Denoises(Protocol):
    """Estimates the clean sample from one with Gaussian noise added."""

    def denoise(self, x: Tensor, sigma: Tensor, condition: Tree | None = None) -> Tensor:
        """Return E[x0 | x0 + sigma n = x]; `sigma` has shape (B,)."""
        ...


@runtime_checkable
class Velocity(Protocol):
    """Knows the velocity field of a probability path from noise (t = 0) to data (t = 1)."""

    def velocity(self, x: Tensor, t: Tensor, condition: Tree | None = None) -> Tensor:
        """Return dx/dt at time `t`, shape (B,)."""
        ...


@runtime_checkable
class Constraint(Protocol):
    """Says which next choices are legal in a state that is being built (valences, grammars)."""

    def allowed(self, state: Tree) -> tuple[Tensor, Tensor]:
        """Return (mask of legal choices, features of the state), leading axis B."""
        ...


PROTOCOLS = {
    "sample": Sampler,
    "density": Density,
    "estimate": UnbiasedDensity,
    "bound": Bounded,
    "elbo": Variational,
    "conditionals": Conditionals,
    "encode": Encodes,
    "quantise": Quantises,
    "energy": Energy,
    "denoise": Denoises,
    "velocity": Velocity,
}


def capabilities(model: object | type) -> tuple[str, ...]:
    """Name what a model (or a model class) can do, in the order of `PROTOCOLS`."""

    def has(protocol: type) -> bool:
        wanted = [name for name in vars(protocol) if not name.startswith("_") and callable(getattr(protocol, name))]
        return all(callable(getattr(model, name, None)) for name in wanted)

    return tuple(name for name, protocol in PROTOCOLS.items() if has(protocol))
