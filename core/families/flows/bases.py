"""Base laws of flows: what the code of a sample is distributed like.

A normal for real numbers; uniform on an interval or a circle; and the Gaussian random field, for samples whose
correlations over a periodic grid are known beforehand (cosmology, microstructures): a flow then learns only what
is not Gaussian about them. Flows from fields instead of white noise: Rouhiainen et al., arXiv:2105.12024.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, Protocol

import torch
from pydantic import Field as Described
from pydantic import model_validator
from torch import Tensor, nn

from ...config import Config
from ...errors import ConfigError
from ...layout import Layout
from ...noise import Noise
from ...samplers.interpolation import lerp, slerp
from ...samplers.likelihood import normal_log_density
from ...spaces import Field


class Base(Protocol):
    """A law of rows (B, D) that can be scored and drawn from, and that knows the ways between its draws.

    Attributes:
        description: its name, as figures of likelihoods tell it.
    """

    description: str

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of codes (B, D), shape (B,), nats."""
        ...

    def draw(self, n: int, noise: Noise) -> Tensor:
        """Codes (n, D) from the noise "prior" (D,)."""
        ...

    def between(self, a: Tensor, b: Tensor, times: Tensor) -> Tensor:
        """Codes (T, B, D) from a (B, D) to b (B, D) at times (T,) from 0 to 1, all as likely as these two."""
        ...

    def quantile(self, shares: Tensor) -> Tensor:
        """Values of any one number of a code below which lie given shares of its law."""
        ...


class Normal(nn.Module):
    """Independent standard normals."""

    description = "normal base"
    between, quantile = staticmethod(slerp), staticmethod(torch.special.ndtri)

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout

    def log_prob(self, z: Tensor) -> Tensor:
        return normal_log_density(z)

    def draw(self, n: int, noise: Noise) -> Tensor:
        return self.layout.prior(n, noise)


class Uniform(nn.Module):
    """Independent uniform numbers on [-bound, bound]."""

    description = "uniform base"
    between = staticmethod(lerp)

    def __init__(self, layout: Layout, bound: float) -> None:
        super().__init__()
        self.layout, self.bound = layout, bound

    def log_prob(self, z: Tensor) -> Tensor:
        edge = self.bound * (1 + 100 * torch.finfo(z.dtype).eps)  # codes of the ends are rounded
        value = torch.full_like(z[:, 0], -z.shape[1] * math.log(2 * self.bound))
        return value.masked_fill((z.abs() > edge).any(dim=1), -math.inf)

    def draw(self, n: int, noise: Noise) -> Tensor:
        return self.quantile(self.layout.prior(n, noise, "uniform"))

    def quantile(self, shares: Tensor) -> Tensor:
        return self.bound * (2 * shares - 1)


class Angles(Uniform):
    """Independent uniform angles in [-pi, pi]: a torus cut open. Angles of any size are codes, too."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout, math.pi)

    def log_prob(self, z: Tensor) -> Tensor:
        return super().log_prob(wrapped(z))

    def between(self, a: Tensor, b: Tensor, times: Tensor) -> Tensor:
        """Along the shorter arcs."""
        return wrapped(lerp(a, a + wrapped(b - a), times))


def wrapped(angle: Tensor) -> Tensor:
    """Angles of any size as those in [-pi, pi] that mean the same."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


class RandomField(nn.Module):
    """A stationary Gaussian random field on a periodic grid, its channels independent and alike.

    With the unitary Fourier transform F, the covariance is F^H diag(S) F, so that over all cells k
    log p(z) = -1/2 sum_k (|F z|_k^2 / S_k + log 2 pi S_k). White noise w makes a field as F^H sqrt(S) F w.

    Args:
        layout: of one field.
        variances: S_k = E |F z|_k^2, of the grid's shape, in the order of `torch.fft.fftn`; float64.
    """

    description = "random-field base"
    variances: Tensor

    def __init__(self, layout: Layout, variances: Tensor) -> None:
        super().__init__()
        assert isinstance(layout.space, Field)
        self.layout, self.field = layout, layout.space
        self.register_buffer("variances", variances)

    def filter(self, rows: Tensor, power: float) -> Tensor:
        """Multiply the modes of rows (B, D) by S^power."""
        grid = rows.unflatten(1, self.field.shape)
        axes = tuple(range(2, grid.ndim))
        modes = torch.fft.fftn(grid, dim=axes) * (self.variances**power).to(rows.dtype)
        return torch.fft.ifftn(modes, dim=axes).real.flatten(1)

    def log_prob(self, z: Tensor) -> Tensor:
        log_scale = 0.5 * self.field.channels * self.variances.log().sum()
        return normal_log_density(self.filter(z, -0.5)) - log_scale.to(z.dtype)

    def draw(self, n: int, noise: Noise) -> Tensor:
        return self.filter(self.layout.prior(n, noise), 0.5)

    def between(self, a: Tensor, b: Tensor, times: Tensor) -> Tensor:
        """Along the great circle of the white noise behind the fields."""
        white = slerp(self.filter(a, -0.5), self.filter(b, -0.5), times)
        return self.filter(white.flatten(0, 1), 0.5).unflatten(0, white.shape[:2])

    def quantile(self, shares: Tensor) -> Tensor:
        return torch.special.ndtri(shares) * self.variances.mean().sqrt().to(shares.dtype)


_Positive = Annotated[float, Described(gt=0, allow_inf_nan=False)]


class NormalConfig(Config):
    """Standard normal."""

    kind: Literal["normal"] = "normal"

    def build(self, layout: Layout) -> Normal:
        return Normal(layout)


class RandomFieldConfig(Config):
    """Gaussian random field with a given power spectrum, on a field periodic along every axis."""

    kind: Literal["random-field"] = "random-field"
    wavenumbers: tuple[Annotated[float, Described(ge=0, allow_inf_nan=False)], ...] = Described(
        min_length=1, description="wavenumbers |k| of the table, rising, radians per unit of length"
    )
    power: tuple[_Positive, ...] = Described(
        min_length=1,
        description="spectrum P(|k|) at each, in the square of the field's unit times length^axes; between them "
        "interpolated in log k and log P (linearly in k from a zero), beyond them constant",
    )
    spacing: tuple[_Positive, ...] | _Positive = Described(
        default=1.0, description="side of a cell, for all axes or each"
    )

    @model_validator(mode="after")
    def _table(self) -> RandomFieldConfig:
        rising = all(a < b for a, b in zip(self.wavenumbers, self.wavenumbers[1:], strict=False))
        if len(self.wavenumbers) != len(self.power) or not rising:
            raise ValueError("expected as many powers as rising wavenumbers")
        return self

    def build(self, layout: Layout) -> RandomField:
        field = layout.space
        if not isinstance(field, Field) or field.periodic != (True,) * len(field.grid):
            raise ConfigError(
                f"random-field: expected a field periodic along every axis, found {field!r}; take the base normal."
            )
        spacing = self.spacing if isinstance(self.spacing, tuple) else (self.spacing,) * len(field.grid)
        if len(spacing) != len(field.grid):
            raise ConfigError(f"random-field.spacing: expected {len(field.grid)} numbers, found {len(spacing)}.")
        squares = [
            (2 * math.pi * torch.fft.fftfreq(n, d, dtype=torch.float64)) ** 2
            for n, d in zip(field.grid, spacing, strict=True)
        ]
        k = torch.stack(torch.meshgrid(*squares, indexing="ij")).sum(0).sqrt()
        variances = self._at(k) / math.prod(spacing)  # of orthonormal modes on a grid of cells of this volume
        single = torch.finfo(torch.float32)
        if not ((variances > single.tiny) & (variances < single.max)).all():
            raise ConfigError(
                f"random-field.power: over cells of volume {math.prod(spacing):.3g} it makes variances "
                f"of {variances.min():.3g} to {variances.max():.3g}, which single precision cannot hold; change units."
            )
        return RandomField(layout, variances)

    def _at(self, k: Tensor) -> Tensor:
        """P at wavenumbers of any shape, float64."""
        table, power = (torch.tensor(values, dtype=torch.float64) for values in (self.wavenumbers, self.power))
        if len(table) == 1:
            return power.expand_as(k).clone()
        right = torch.searchsorted(table, k).clamp(1, len(table) - 1)
        a, b, low, high = table[right - 1], table[right], power[right - 1].log(), power[right].log()
        k = k.clamp(table[0], table[-1])
        share = torch.where(a > 0, (k.clamp(min=1e-300) / a).log() / (b / a).log(), (k - a) / (b - a))
        return torch.lerp(low, high, share).exp()


BaseConfig = Annotated[NormalConfig | RandomFieldConfig, Described(discriminator="kind")]
