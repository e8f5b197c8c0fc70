"""The protocol of base distributions, and the standard normal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn

from ..config import Config
from ..layout import Layout
from ..noise import Noise
from ..samplers.interpolation import slerp
from ..samplers.likelihood import normal_log_density


class Base(nn.Module, ABC):
    """A distribution of codes z (B, D) given a context, which most of them ignore.

    Attributes:
        description: its name in `likelihood_notes`.
        layout: of one sample.

    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> base: Base = NormalConfig().build(Layout(Vector(dim=2)))
    >>> base, base.draw(3, KeyedNoise(0, torch.arange(3)), None).shape
    (Normal(features=2), torch.Size([3, 2]))
    """

    description: ClassVar[str]

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout

    @abstractmethod
    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density of codes (B, D) given the features (B, C) of B conditions, shape (B,), nats."""

    def white(self, n: int, noise: Noise) -> Tensor:
        """Independent draws (n, D) that `color` turns into codes; reads the noise "prior" (D,)."""
        return self.layout.prior(n, noise)

    @abstractmethod
    def color(self, white: Tensor, context: Tensor | None = None) -> Tensor:
        """Codes (B, D) made of independent draws (B, D) given the features (B, C) of B conditions."""

    @final
    def draw(self, n: int, noise: Noise, context: Tensor | None = None) -> Tensor:
        """Draw n codes (n, D) given the features (n, C) of n conditions; reads the noise "prior" (D,)."""
        return self.color(self.white(n, noise), context)

    @abstractmethod
    def interpolate(self, a: Tensor, b: Tensor, times: Tensor, context: Tensor | None = None) -> Tensor:
        """Codes (T, B, D) from a (B, D) to b (B, D) at times (T,) from 0 to 1, about as likely as a and b."""

    @abstractmethod
    def icdf(self, probabilities: Tensor, dim: int = 0, context: Tensor | None = None) -> Tensor:
        """Quantiles (T,) of feature `dim` at probabilities (T,), given the features (1, C) of one condition."""

    def mean(self, context: Tensor | None = None) -> Tensor | float:
        """The mean of the codes, (B, D), or one number for all."""
        return 0.0

    def extra_repr(self) -> str:
        return f"features={self.layout.features}"


class Normal(Base):
    """Independent standard normals.

    >>> from maquette.core.spaces import Vector
    >>> Normal(Layout(Vector(dim=2))).log_prob(torch.zeros(1, 2))
    tensor([-1.8379])
    """

    description = "normal base"

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return normal_log_density(z)

    def color(self, white: Tensor, context: Tensor | None = None) -> Tensor:
        return white

    def interpolate(self, a: Tensor, b: Tensor, times: Tensor, context: Tensor | None = None) -> Tensor:
        """Along the great circle."""
        return slerp(a, b, times)

    def icdf(self, probabilities: Tensor, dim: int = 0, context: Tensor | None = None) -> Tensor:
        return torch.special.ndtri(probabilities)


class NormalConfig(Config):
    """Standard normal.

    >>> from maquette.core.spaces import Vector
    >>> NormalConfig().build(Layout(Vector(dim=2))).icdf(torch.tensor([0.5]))
    tensor([0.])
    """

    kind: Literal["normal"] = "normal"

    def build(self, layout: Layout) -> Normal:
        return Normal(layout)
