"""Bits per dimension: the mean negative log2-likelihood per dimension, by which image models are compared."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import ConfigError
from .likelihood import LogLikelihood


@dataclass(frozen=True)
class BitsPerDim:
    """Bits per dimension of a data set, and what a comparison with other figures must know.

    Attributes:
        value: bits per dimension; an upper bound where the likelihood is a lower bound.
        error: its standard error over the samples.
        likelihood: from which it was computed, with its measure, bound, draws and notes.
    """

    value: float
    error: float
    likelihood: LogLikelihood

    def __str__(self) -> str:
        return f"{self.value:.4f} +- {self.error:.4f} bits/dim ({self.likelihood.what}, n = {self.likelihood.n})"


def bits_per_dim(likelihood: LogLikelihood) -> BitsPerDim:
    """Convert the mean log-mass of samples of integer levels to bits per dimension.

    Raises:
        ConfigError: the log-density of real values, whose bits depend on the choice of the unit.

    >>> from maquette.core.inference.likelihood import LogLikelihood
    >>> figure = bits_per_dim(LogLikelihood(-8.3178, 0.1, n=50, kind="exact", measure="mass", dimensions=6))
    >>> print(figure)
    2.0000 +- 0.0240 bits/dim (log-mass of 6 dimensions, exact, n = 50)
    >>> isinstance(figure, BitsPerDim), round(figure.value, 4)
    (True, 2.0)
    """
    if likelihood.measure != "mass":
        raise ConfigError(
            f"Bits per dimension need masses of integer levels, found a log-{likelihood.measure}, which depends on "
            "the unit of the values; give nats, or model the levels."
        )
    scale = 1 / (math.log(2) * likelihood.dimensions)
    return BitsPerDim(-likelihood.value * scale, likelihood.error * scale, likelihood)
