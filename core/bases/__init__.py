"""Base distributions: those of the noise that flows and ODEs carry to data.

`Normal` for real features; `Uniform` on an interval; `UniformAngles` on a torus; `RandomField` for samples whose
two-point correlations on a periodic grid are known beforehand; `ConditionalNormal` where mean and scale follow the
condition.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .base import Base as Base
from .base import Normal as Normal
from .base import NormalConfig as NormalConfig
from .conditional import ConditionalNormal as ConditionalNormal
from .conditional import ConditionalNormalConfig as ConditionalNormalConfig
from .random_field import RandomField as RandomField
from .random_field import RandomFieldConfig as RandomFieldConfig

BaseConfig = Annotated[NormalConfig | RandomFieldConfig | ConditionalNormalConfig, Field(discriminator="kind")]
"""A base distribution of real features."""

NoiseConfig = Annotated[NormalConfig | RandomFieldConfig, Field(discriminator="kind")]
"""A base distribution of mean zero, as the noise of a diffusion."""
