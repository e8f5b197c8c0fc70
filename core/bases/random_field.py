"""Gaussian random fields: base distributions with a known two-point correlation on a periodic grid.

A flow then has to learn only what is not Gaussian (cosmology, microstructures). Flows from random fields instead of
white noise: Rouhiainen et al., arXiv:2105.12024.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field as Described
from pydantic import model_validator
from torch import Tensor

from ..config import Config
from ..errors import ConfigError
from ..layout import Layout
from ..samplers.interpolation import slerp
from ..samplers.likelihood import normal_log_density
from ..spaces import Field
from .base import Base


class RandomField(Base):
    """A stationary Gaussian random field on a periodic grid; channels are independent and have one spectrum.

    With the unitary Fourier transform F, the covariance is F^H diag(S) F. So log p(z) is the sum over all modes k of
    -1/2 (|F z|_k^2 / S_k + log 2 pi S_k), and F^H sqrt(S) F w is a draw for white noise w.

    Args:
        layout: of one field.
        variances: S_k = E |F z|_k^2, of the grid's shape, in the order of `torch.fft.fftn`; float64.

    Raises:
        ConfigError: samples that are not a field.

    >>> field = Field(channels=1, grid=(4,), periodic=(True,))
    >>> base = RandomFieldConfig(wavenumbers=(0.0, 3.0), power=(2.0, 0.5)).build(Layout(field))
    >>> base
    RandomField(channels=1, grid=(4,))
    >>> base.log_prob(torch.zeros(1, 4))
    tensor([-3.6430])
    """

    description = "random-field base"
    variances: Tensor

    def __init__(self, layout: Layout, variances: Tensor) -> None:
        super().__init__(layout)
        if not isinstance(layout.space, Field):
            raise ConfigError(f"random-field: expected a field, found a {layout.space.kind}; take the base normal.")
        self.field = layout.space
        self.register_buffer("variances", variances)

    def filter(self, z: Tensor, power: float) -> Tensor:
        """Multiply the Fourier modes of flattened fields (B, D) by S^power."""
        grid = z.unflatten(1, self.field.shape)
        axes = tuple(range(2, grid.ndim))
        modes = torch.fft.fftn(grid, dim=axes) * (self.variances**power).to(z.dtype)
        return torch.fft.ifftn(modes, dim=axes).real.flatten(1)

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        log_scale = 0.5 * self.field.channels * self.variances.log().sum()
        return normal_log_density(self.filter(z, -0.5)) - log_scale.to(z.dtype)

    def color(self, white: Tensor, context: Tensor | None = None) -> Tensor:
        return self.filter(white, 0.5)

    def interpolate(self, a: Tensor, b: Tensor, times: Tensor, context: Tensor | None = None) -> Tensor:
        """Along the great circle between the white noises that make the two fields."""
        white = slerp(self.filter(a, -0.5), self.filter(b, -0.5), times)
        return self.filter(white.flatten(0, 1), 0.5).unflatten(0, white.shape[:2])

    def icdf(self, probabilities: Tensor, dim: int = 0, context: Tensor | None = None) -> Tensor:
        return torch.special.ndtri(probabilities) * self.variances.mean().sqrt().to(probabilities.dtype)

    def extra_repr(self) -> str:
        return f"channels={self.field.channels}, grid={self.field.grid}"


_Positive = Annotated[float, Described(gt=0, allow_inf_nan=False)]


class RandomFieldConfig(Config):
    """Gaussian random field with a given power spectrum, on a field periodic along every axis."""

    kind: Literal["random-field"] = "random-field"
    wavenumbers: tuple[Annotated[float, Described(ge=0, allow_inf_nan=False)], ...] = Described(
        min_length=1, description="wavenumbers |k| of the table, increasing, radians per unit of length"
    )
    power: tuple[_Positive, ...] = Described(
        min_length=1,
        description="spectrum P(|k|) at each wavenumber, in the square of the field's unit times length^axes; "
        "interpolated in log k and log P (linearly in k from k = 0), constant beyond the table",
    )
    spacing: tuple[_Positive, ...] | _Positive = Described(
        default=1.0, description="side length of a cell: one for all axes, or one per axis"
    )

    @model_validator(mode="after")
    def _table(self) -> RandomFieldConfig:
        increasing = all(a < b for a, b in zip(self.wavenumbers, self.wavenumbers[1:], strict=False))
        if len(self.wavenumbers) != len(self.power) or not increasing:
            raise ValueError("expected increasing wavenumbers, and as many powers")
        return self

    def build(self, layout: Layout) -> RandomField:
        field = layout.space
        if not isinstance(field, Field) or field.periodic != (True,) * len(field.grid):
            raise ConfigError(
                f"random-field: expected a field periodic along every axis, found {field!r}; take the base normal."
            )
        spacing = self.spacing if isinstance(self.spacing, tuple) else (self.spacing,) * len(field.grid)
        if len(spacing) != len(field.grid):
            raise ConfigError(f"random-field.spacing: expected {len(field.grid)} lengths, found {len(spacing)}.")
        squares = [
            (2 * math.pi * torch.fft.fftfreq(n, d, dtype=torch.float64)) ** 2
            for n, d in zip(field.grid, spacing, strict=True)
        ]
        k = torch.stack(torch.meshgrid(*squares, indexing="ij")).sum(0).sqrt()
        variances = self._interpolated(k) / math.prod(spacing)  # of orthonormal modes, by the volume of a cell
        single = torch.finfo(torch.float32)
        if not ((variances > single.tiny) & (variances < single.max)).all():
            raise ConfigError(
                f"random-field.power: with cells of volume {math.prod(spacing):.3g} the variances are "
                f"{variances.min():.3g} to {variances.max():.3g}, which single precision cannot hold; change units."
            )
        return RandomField(layout, variances)

    def _interpolated(self, k: Tensor) -> Tensor:
        """P at wavenumbers of any shape, float64."""
        table, power = (torch.tensor(values, dtype=torch.float64) for values in (self.wavenumbers, self.power))
        if len(table) == 1:
            return power.expand_as(k).clone()
        right = torch.searchsorted(table, k).clamp(1, len(table) - 1)
        a, b, low, high = table[right - 1], table[right], power[right - 1].log(), power[right].log()
        k = k.clamp(table[0], table[-1])
        weight = torch.where(a > 0, (k.clamp(min=1e-300) / a).log() / (b / a).log(), (k - a) / (b - a))
        return torch.lerp(low, high, weight).exp()
