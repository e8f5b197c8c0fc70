"""Bits per dimension: the mean negative log2-likelihood of a number, as image models are compared by."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import ConfigError
from .likelihood import LogLikelihood


@dataclass(frozen=True)
class BitsPerDim:
    """Bits that a number of a sample costs on average, and all that has to be known to compare them with others'.

    Attributes:
        value: bits per number; where the likelihood is a lower bound, the bits are an upper one.
        error: its standard error over the samples.
        likelihood: what it was made of: its measure, bound, draws, base, masks and dequantisation.
    """

    value: float
    error: float
    likelihood: LogLikelihood

    def __str__(self) -> str:
        return f"{self.value:.4f} +- {self.error:.4f} bits/dim ({self.likelihood.what}, n = {self.likelihood.n})"


def bits_per_dim(likelihood: LogLikelihood) -> BitsPerDim:
    """Turn the mean log-mass of samples of integer levels into bits per number.

    Raises:
        ConfigError: a density of real numbers, of which there are as many bits as one likes, by the choice of a unit.
    """
    if likelihood.measure != "mass":
        raise ConfigError(
            f"Bits per dimension are of masses of integer levels, found a log-{likelihood.measure}, which depends on "
            "the unit of the numbers; give nats, or model the levels."
        )
    scale = 1 / (math.log(2) * likelihood.numbers)
    return BitsPerDim(-likelihood.value * scale, likelihood.error * scale, likelihood)
