"""What a model can do: small protocols, most of one method.

There is no base class for models. A family implements the protocols that its mathematics allows. What one does with a
model (scoring, imputation, compression) is a free function on one of them, in `inference`.

Shapes: x and condition are values of the model's spaces, with B samples on the leading axis. D is the number of
features of a flattened sample, P the number of parameters of one conditional distribution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor

from .layout import Layout
from .noise import Noise
from .spaces import Space, Tree


@runtime_checkable
class Sampler(Protocol):
    """Draws samples."""

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Return n samples, one for each of the n conditions; `noise` has batch size n."""
        ...


@runtime_checkable
class Density(Protocol):
    """Computes its log-density, exactly up to the tolerance that the family declares."""

    def log_prob(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """Return log p(x | condition), (B,), nats."""
        ...


@runtime_checkable
class UnbiasedDensity(Protocol):
    """Estimates its log-density without bias, at a lower cost than computing it."""

    def log_prob_estimate(self, x: Tree, condition: Tree | None = None, *, noise: Noise) -> Tensor:
        """Return an unbiased estimate of log p(x | condition), (B,), nats; its gradient is unbiased, too."""
        ...


@runtime_checkable
class Bounded(Protocol):
    """Computes a stochastic bound on its log-density.

    Attributes:
        direction: whether the bound lies below or above, on average.
    """

    direction: Literal["lower", "upper"]

    def log_bound(self, x: Tree, condition: Tree | None = None, *, noise: Noise) -> Tensor:
        """Return a bound on log p(x | condition) from one draw of the latent variables, (B,), nats."""
        ...


@runtime_checkable
class LikelihoodNotes(Protocol):
    """Lists the caveats to report with its likelihood."""

    @property
    def likelihood_notes(self) -> tuple[str, ...]:
        """A few words each: the base distribution, how levels were dequantised, how many models were averaged."""
        ...


@dataclass(frozen=True)
class ELBO:
    """The terms of an evidence lower bound, log p(x | c) >= E_q log p(x | z, c) - KL(q(z | x, c) || p(z | c)).

    Attributes:
        reconstruction: log p(x | z, c) at one draw of z, (B,), nats.
        kl: the KL by layer of latent variables, each (B, groups), nats; the sum over all is the second term.

    >>> import torch
    >>> ELBO(reconstruction=torch.tensor([-1.0]), kl={"z": torch.tensor([[0.5, 0.25]])}).bound
    tensor([-1.7500])
    """

    reconstruction: Tensor
    kl: dict[str, Tensor]

    @property
    def bound(self) -> Tensor:
        """The bound itself, (B,), nats."""
        return self.reconstruction - sum(terms.sum(1) for terms in self.kl.values())


@runtime_checkable
class Variational(Protocol):
    """Has latent variables and an approximate posterior of them; computes the terms of its evidence lower bound."""

    def elbo(self, x: Tree, condition: Tree | None = None, *, noise: Noise) -> ELBO:
        """Return the terms of the evidence lower bound, each (B,) or (B, groups), at one draw of the latents."""
        ...


@runtime_checkable
class Conditionals(Protocol):
    """Factorises its density over dimensions: log p(x) = sum_i log p(x[order[i]] | x[order[:i]]).

    Attributes:
        layout: flattens samples and embeds conditions.
        likelihood: the `likelihoods.Likelihood` of one dimension.
        order: (D,), indices into the flattened sample in the order in which dimensions are drawn.
    """

    layout: Layout
    likelihood: Any
    order: Tensor

    def conditionals(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """Return the parameters (B, D, P) of each dimension's conditional, in the order of the flattened sample."""
        ...


@runtime_checkable
class Stepwise(Protocol):
    """Computes its conditionals one by one while samples are drawn, with a cache for what came before."""

    def steps(self, n: int, condition: Tree | None = None) -> Callable[[Tensor | None], Tensor]:
        """Start a pass over n samples and return its step.

        Each call of the step takes the values drawn last (n,), None at first, and returns the parameters (n, P) of the
        next conditional, in `order`. A step serves one pass only.
        """
        ...


@runtime_checkable
class Encodes(Protocol):
    """Maps samples to codes and back."""

    def encode(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """Return the codes (B, L) of x, or (B, ...) if they have a shape of their own."""
        ...

    def decode(self, z: Tensor, condition: Tree | None = None) -> Tree:
        """Return the samples, B of them, whose codes are z."""
        ...


@dataclass(frozen=True)
class Quantised:
    """Codebook indices of samples and what is decoded from them; lists run from the coarsest level to the finest.

    Attributes:
        parameters: likelihood parameters of the decoder, (B, D, P).
        codes: codebook indices, each (B, codes_per_cell, *grid), int64.
        vectors: what was quantised, each (B, codes_per_cell, *grid, d).
        distance: squared distance of vectors from their codebook entries, (B,); only the vectors get its gradient.

    >>> import torch
    >>> from maquette.core.families.vae.vq_vae import VQVAEConfig
    >>> from maquette.core.spaces import Vector
    >>> found = VQVAEConfig.example().build(Vector(dim=4)).quantise(torch.zeros(5, 4))
    >>> isinstance(found, Quantised), [code.dtype for code in found.codes]
    (True, [torch.int64, torch.int64])
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
        """Return the codebook indices of x, B samples, and what is decoded from them."""
        ...

    def generate(self, codes: Sequence[Tensor], condition: Tree | None = None) -> Tensor:
        """Decode `codes`, one tensor for each level as in `Quantised`, to likelihood parameters (B, D, P)."""
        ...


@runtime_checkable
class Energy(Protocol):
    """Computes its log-density up to a constant."""

    def energy(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """Return U(x), (B,), nats, where p(x) is proportional to exp(-U(x))."""
        ...


@runtime_checkable
class Denoises(Protocol):
    """Estimates the clean sample from one with Gaussian noise added; its velocity, if it has one, is by noise level."""

    def denoise(self, x: Tensor, sigma: Tensor, condition: Tree | None = None) -> Tensor:
        """Return E[x0 | x0 + sigma n = x], (B, D), for flattened samples x (B, D) and noise levels sigma (B,)."""
        ...


@runtime_checkable
class Velocity(Protocol):
    """Has a velocity field whose ODE carries noise to data.

    Attributes:
        t0: time of the noise.
        t1: time of the data.
        scale: factor on a code that makes the state at t0.
    """

    t0: float
    t1: float
    scale: float

    def velocity(self, x: Tensor, t: Tensor, condition: Tree | None = None) -> Tensor:
        """Return dx/dt, (B, D), at flattened samples x (B, D) and times t (B,)."""
        ...


@runtime_checkable
class Steerable(Protocol):
    """Has options of sampling that can be changed without fitting anew.

    Attributes:
        sampler: a config of the options in use.
    """

    sampler: Any

    def with_sampler(self, **overrides: Any) -> Any:
        """Return a view of the model, sharing its weights, that samples with other options."""
        ...


@runtime_checkable
class Resizable(Protocol):
    """Has weights that belong to no grid, or parts whose weights do not."""

    def at(self, space: Space) -> Any:
        """Return a view of the model, sharing its weights, that samples `space`: its own samples on another grid.

        Raises:
            ConfigError: a part whose weights belong to one grid, or a space that differs in more than its sides.
        """
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
    "sampler": Steerable,
    "at": Resizable,
}
"""The capabilities that listings and laws know, by name."""


def capabilities(model: object | type) -> tuple[str, ...]:
    """Names of what a model, or a model class, can do, in the order of `PROTOCOLS`.

    >>> class Coin:
    ...     def log_prob(self, x, condition=None): ...
    >>> capabilities(Coin)
    ('density',)
    """

    def has(protocol: type) -> bool:
        wanted = [name for name in vars(protocol) if not name.startswith("_") and callable(getattr(protocol, name))]
        return all(callable(getattr(model, name, None)) for name in wanted)

    return tuple(name for name, protocol in PROTOCOLS.items() if has(protocol))
