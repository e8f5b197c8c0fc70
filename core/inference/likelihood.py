"""The log-likelihood of a data set, with all that a comparison must know about it."""

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
from ..spaces import Binary, Levels, Space, size, support_of
from ..values import check_values
from .importance import importance_bound


@dataclass(frozen=True)
class LogLikelihood:
    """The mean log-likelihood of a data set, and what a comparison with other figures must know.

    Attributes:
        value: mean over the samples, nats per sample.
        error: its standard error over the samples; it includes the noise of a bound's draws.
        n: number of samples.
        kind: whether the model computes the log-likelihood itself or a lower bound. The bound with K draws is the
            logarithm of the mean of K importance weights; it rises with K.
        measure: a mass of integer levels, a density of real values (with respect to Lebesgue measure, in the unit of
            the model's samples), or both. Only figures of one measure can be compared.
        dimensions: D, of a sample.
        draws: K for a bound, else 0.
        likelihood_notes: the model's caveats: base distribution, dequantisation, number of masks.

    >>> print(LogLikelihood(-4.2, 0.1, n=40, kind="lower bound", measure="density", dimensions=6, draws=10))
    -4.2000 +- 0.1000 nats per sample (log-density of 6 dimensions, lower bound with 10 draws, n = 40)
    """

    value: float
    error: float
    n: int
    kind: Literal["exact", "lower bound"]
    measure: Literal["mass", "density", "mass and density"]
    dimensions: int
    draws: int = 0
    likelihood_notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.value:.4f} +- {self.error:.4f} nats per sample ({self.what}, n = {self.n})"

    @property
    def what(self) -> str:
        """The measure, kind, draws and notes in words."""
        draws = f" with {self.draws} draw{'' if self.draws == 1 else 's'}" if self.draws else ""
        return ", ".join(
            (f"log-{self.measure} of {self.dimensions} dimensions", self.kind + draws, *self.likelihood_notes)
        )


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
        model: a module with a density, or else a bound; on any device, in any floating dtype.
        source: samples as the model was trained on, after any codec; at least two.
        space: of one sample.
        draws: K, read only for a model with a bound.
        batch: samples at a time. It does not change the figure, because noise is keyed by sample.
        seed: of the noise.

    Raises:
        ConfigError: a model with neither a density nor a bound.
        SampleError: fewer than two samples.
        SpaceError: values outside of their support, which the model would score without an error.

    >>> from maquette.core.data import TensorSource
    >>> from maquette.core.families.autoregressive.fvsbn import FVSBNConfig
    >>> from maquette.core.spaces import Vector
    >>> space = Vector(dim=6, support=Binary())
    >>> print(log_likelihood(FVSBNConfig().build(space), TensorSource(torch.ones(40, 6)), space))
    -4.1589 +- 0.0000 nats per sample (log-mass of 6 dimensions, exact, n = 40)
    """
    n, weight = len(source), next(model.parameters())
    if n < 2:
        raise SampleError(f"A mean with an error needs at least 2 samples, found {n}.")
    exact = isinstance(model, Density)
    if not exact and not isinstance(model, Bounded):
        raise ConfigError(f"{type(model).__name__} has neither a density nor a bound; choose another family.")
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
        dimensions=size(space),
        draws=0 if exact else draws,
        likelihood_notes=model.likelihood_notes if isinstance(model, LikelihoodNotes) else (),
    )


def _measure(space: Space) -> Literal["mass", "density", "mass and density"]:
    whole = {isinstance(support_of(part), Binary | Levels) for _, part in parts(space)}
    if len(whole) > 1:
        return "mass and density"
    return "mass" if True in whole else "density"
