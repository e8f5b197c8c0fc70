"""Ways to spoil a sample, that an autoencoder may learn to mend it; each a law C(y | x), number by number."""

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
    """Gaussian noise on every number; on an interval what leaves it is put at its end."""

    supports: ClassVar[tuple[type[Support], ...]] = (Real, Interval)

    kind: Literal["gaussian"] = "gaussian"
    scale: float = Field(default=0.5, gt=0, description="standard deviation; on an interval, in units of its length")

    def apply(self, rows: Tensor, support: Support, noise: Noise) -> Tensor:
        """Rows (B, D) to rows (B, D); reads the normal noise "corruption" (D,)."""
        unit = noise.normal("corruption", tuple(rows.shape[1:]))
        if not isinstance(support, Interval):
            return rows + self.scale * unit
        low, high = support.low, support.high
        return (rows + self.scale * (high - low) * unit).clamp(low, high)


class Redraw(Config):
    """Some numbers are drawn anew, uniformly over their support: salt and pepper."""

    supports: ClassVar[tuple[type[Support], ...]] = (Binary, Levels, Interval)

    kind: Literal["redraw"] = "redraw"
    share: float = Field(default=0.3, gt=0, le=1, description="probability of each number to be drawn anew")

    def apply(self, rows: Tensor, support: Support, noise: Noise) -> Tensor:
        """Rows (B, D) to rows (B, D); reads the uniform noise "corruption" (D, 2)."""
        hit, u = noise.uniform("corruption", (rows.shape[1], 2)).unbind(-1)
        match support:
            case Levels(count=count):
                drawn = (u * count).to(rows.dtype)
            case Interval(low=low, high=high):
                drawn = low + (high - low) * u
            case _:
                drawn = (u < 0.5).to(rows.dtype)
        return torch.where(hit < self.share, drawn, rows)


class Mask(Config):
    """Some numbers are set to zero, or to the low end of an interval."""

    supports: ClassVar[tuple[type[Support], ...]] = (Real, Interval, Binary, Levels)

    kind: Literal["mask"] = "mask"
    share: float = Field(default=0.3, gt=0, lt=1, description="probability of each number to be hidden")

    def apply(self, rows: Tensor, support: Support, noise: Noise) -> Tensor:
        """Rows (B, D) to rows (B, D); reads the uniform noise "corruption" (D,)."""
        hit = noise.uniform("corruption", tuple(rows.shape[1:])) < self.share
        hidden = support.low if isinstance(support, Interval) else 0
        return rows.masked_fill(hit, hidden)


Corruption = Annotated[GaussianCorruption | Redraw | Mask, Field(discriminator="kind")]


def corruption_of(support: Support, config: Corruption | None) -> Corruption:
    """The corruption that a config names, or the usual one of the support; raises `ConfigError`."""
    if config is None:
        return Redraw() if isinstance(support, Binary | Levels) else GaussianCorruption()
    if not isinstance(support, config.supports):
        kinds = " or ".join(kind_of(known) for known in config.supports)
        raise ConfigError(f"corruption: {config.kind} spoils {kinds} numbers, found {support.kind} ones; take mask.")
    return config
