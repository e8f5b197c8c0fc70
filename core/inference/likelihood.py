"""The log-likelihood of a data set, with all that a figure must name."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch

from ..capabilities import Bounded, Density, LikelihoodNotes
from ..data import Source
from ..errors import ConfigError, SampleError
from ..layout import parts
from ..noise import KeyedNoise
from ..spaces import Binary, Levels, Space, check_values, size, support_of
from .importance import importance_bound


@dataclass(frozen=True)
class LogLikelihood:
    """The mean log-likelihood of a data set, and what has to be known to compare it with another.

    Attributes:
        value: mean over the samples, nats per sample.
        error: its standard error over the samples; draws of a bound are part of it.
        n: samples.
        kind: whether the model computes the log-likelihood itself or a bound; a lower one with K draws is the mean of
            the log of K weights' mean, and rises with K.
        measure: of what: a mass of integer levels, a density of real numbers (with respect to Lebesgue measure, in the
            unit that the model gets them in), or both. Only figures of one measure can be compared.
        numbers: in a sample.
        draws: K for a bound, else 0.
        account: what the model says has to be named: base law, dequantisation, number of masks.
    """

    value: float
    error: float
    n: int
    kind: Literal["exact", "lower bound"]
    measure: Literal["mass", "density", "mass and density"]
    numbers: int
    draws: int = 0
    likelihood_notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.value:.4f} +- {self.error:.4f} nats per sample ({self.what}, n = {self.n})"

    @property
    def what(self) -> str:
        """All that has to be known to compare the figure with another, but for its unit and n."""
        draws = f" with {self.draws} draw{'' if self.draws == 1 else 's'}" if self.draws else ""
        return ", ".join((f"log-{self.measure} of {self.numbers} numbers", self.kind + draws, *self.likelihood_notes))


@torch.no_grad()
def log_likelihood(
    model: Any,
    source: Source,
    space: Space,
    *,
    draws: int = 1,
    batch: int = 256,
    seed: int = 0,
) -> LogLikelihood:
    """The mean log-likelihood of all samples of a source.

    Args:
        model: one that knows its density, or else a bound; on any device, in any floating dtype.
        source: as the model was trained on, after any codec; at least two samples.
        space: of one sample.
        draws: K, of a model that only knows a bound.
        batch: samples at a time. Neither it nor the order changes the figure, for noise is keyed by sample.
        seed: of the noise.

    Raises:
        ConfigError: a model that knows neither.
        SampleError: fewer than two samples.
        SpaceError: numbers outside of their support, which would be scored all the same.
    """
    n, weight = len(source), next(model.parameters())
    if n < 2:
        raise SampleError(f"A mean with an error needs at least 2 samples, found {n}.")
    exact = isinstance(model, Density)
    if not exact and not isinstance(model, Bounded):
        raise ConfigError(f"{type(model).__name__} knows neither its density nor a bound; choose another family.")
    found = []
    for index in torch.arange(n).split(batch):
        data = source.fetch(index).to(weight.device, weight.dtype)
        check_values(space, data.x, what="x")
        if exact:
            found.append(model.log_prob(data.x, data.condition))
        else:
            noise = KeyedNoise(seed, data.index, "likelihood", dtype=weight.dtype)
            found.append(importance_bound(model, data.x, data.condition, noise=noise, draws=draws).value)
    each = torch.cat(found).double()
    return LogLikelihood(
        value=each.mean().item(),
        error=each.std().item() / math.sqrt(n),
        n=n,
        kind="exact" if exact else "lower bound",
        measure=_measure(space),
        numbers=size(space),
        draws=0 if exact else draws,
        likelihood_notes=model.likelihood_notes if isinstance(model, LikelihoodNotes) else (),
    )


def _measure(space: Space) -> Literal["mass", "density", "mass and density"]:
    whole = {isinstance(support_of(part), Binary | Levels) for _, part in parts(space)}
    if len(whole) > 1:
        return "mass and density"
    return "mass" if True in whole else "density"
