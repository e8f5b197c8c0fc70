"""Corruptions C(y | x) of a sample, independent for each feature, that a denoising autoencoder learns to undo."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from ...config import Config, kind_of
from ...errors import ConfigError
from ...noise import Noise
from ...spaces import Binary, Interval, Levels, Real, Support


class GaussianCorruption(Config):
    """Gaussian noise on every feature; on an interval the result is clamped to it.

    >>> from maquette.core.noise import KeyedNoise
    >>> x = torch.zeros(4, 3)
    >>> GaussianCorruption(scale=0.1).apply(x, Real(), KeyedNoise(0, torch.arange(4))).shape
    torch.Size([4, 3])
    """

    supports: ClassVar[tuple[type[Support], ...]] = (Real, Interval)

    kind: Literal["gaussian"] = "gaussian"
    scale: float = Field(default=0.5, gt=0, description="standard deviation; on an interval, in units of its length")

    def apply(self, x: Tensor, support: Support, noise: Noise) -> Tensor:
        """Flat samples (B, D) to (B, D); reads the normal noise "corruption" (D,)."""
        eps = noise.normal("corruption", tuple(x.shape[1:]))
        if not isinstance(support, Interval):
            return x + self.scale * eps
        low, high = support.low, support.high
        return (x + self.scale * (high - low) * eps).clamp(low, high)


class Redraw(Config):
    """Some features are drawn anew, uniformly over their support: salt and pepper.

    >>> from maquette.core.noise import KeyedNoise
    >>> x = torch.zeros(4, 3)
    >>> Redraw(probability=0.5).apply(x, Binary(), KeyedNoise(0, torch.arange(4))).shape
    torch.Size([4, 3])
    """

    supports: ClassVar[tuple[type[Support], ...]] = (Binary, Levels, Interval)

    kind: Literal["redraw"] = "redraw"
    probability: float = Field(default=0.3, gt=0, le=1, description="probability of each feature to be drawn anew")

    def apply(self, x: Tensor, support: Support, noise: Noise) -> Tensor:
        """Flat samples (B, D) to (B, D); reads the uniform noise "corruption" (D, 2)."""
        hit, u = noise.uniform("corruption", (x.shape[1], 2)).unbind(-1)
        match support:
            case Levels(count=count):
                drawn = (u * count).to(x.dtype)
            case Interval(low=low, high=high):
                drawn = low + (high - low) * u
            case _:
                drawn = (u < 0.5).to(x.dtype)
        return torch.where(hit < self.probability, drawn, x)


class Mask(Config):
    """Some features are set to zero, or to the low end of an interval.

    >>> from maquette.core.noise import KeyedNoise
    >>> x = torch.ones(4, 3)
    >>> Mask(probability=0.5).apply(x, Real(), KeyedNoise(0, torch.arange(4))).unique()
    tensor([0., 1.])
    """

    supports: ClassVar[tuple[type[Support], ...]] = (Real, Interval, Binary, Levels)

    kind: Literal["mask"] = "mask"
    probability: float = Field(default=0.3, gt=0, lt=1, description="probability of each feature to be masked")

    def apply(self, x: Tensor, support: Support, noise: Noise) -> Tensor:
        """Flat samples (B, D) to (B, D); reads the uniform noise "corruption" (D,)."""
        masked = noise.uniform("corruption", tuple(x.shape[1:])) < self.probability
        return x.masked_fill(masked, support.low if isinstance(support, Interval) else 0)


Corruption = Annotated[GaussianCorruption | Redraw | Mask, Field(discriminator="kind")]


def corruption_of(support: Support, config: Corruption | None) -> Corruption:
    """The corruption of a config, or the default of the support.

    >>> corruption_of(Binary(), None).kind
    'redraw'

    Raises:
        ConfigError: the config's corruption does not take the support.
    """
    if config is None:
        return Redraw() if isinstance(support, Binary | Levels) else GaussianCorruption()
    if not isinstance(support, config.supports):
        kinds = " or ".join(kind_of(known) for known in config.supports)
        raise ConfigError(
            f"corruption: {config.kind} takes samples of {kinds} support, found {support.kind}; take mask."
        )
    return config
