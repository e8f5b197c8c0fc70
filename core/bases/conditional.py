"""Normals whose mean and scale follow the condition."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from ..config import Config, Width
from ..errors import ConfigError
from ..layout import Layout
from ..nets.init import zero_init
from ..nets.mlp import MLP
from ..samplers.interpolation import slerp
from ..samplers.likelihood import normal_log_density
from .base import Base

LOG_SCALE = math.log(1e3)
"""Largest |log scale|, which is approached smoothly: no condition makes a scale zero or infinite."""


class ConditionalNormal(Base):
    """Independent normals N(m(c), s(c)^2), with means and log-scales from an MLP of the features of the context.

    Fields among the conditions are left to the network that follows.

    Args:
        layout: of one sample and its condition.
        hidden: widths of the MLP's hidden layers.

    Raises:
        ConfigError: a model without condition, or with none but fields.

    >>> from maquette.core.spaces import Vector
    >>> base = ConditionalNormal(Layout(Vector(dim=2), Vector(dim=1)), hidden=(8,))
    >>> base.log_prob(torch.zeros(1, 2), torch.ones(1, 1)).detach()  # untrained, the standard normal
    tensor([-1.8379])
    """

    description = "conditional normal base"

    def __init__(self, layout: Layout, hidden: tuple[int, ...]) -> None:
        super().__init__(layout)
        if not layout.vector_features and layout.field_conditions:
            raise ConfigError(
                "conditional-normal: expected features of the condition to follow, found fields alone, which only "
                "networks take; choose the base normal."
            )
        if not layout.vector_features:
            raise ConfigError("conditional-normal: the model has no condition to follow; take the base normal.")
        self.network = MLP(layout.vector_features, hidden, 2 * layout.features)
        zero_init(self.network[-1])

    def moments(self, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Means and log-scales, both (B, D), given the features (B, C) of B conditions."""
        assert context is not None
        mean, raw = self.network(context).chunk(2, dim=1)
        return mean, LOG_SCALE * torch.tanh(raw / LOG_SCALE)

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        mean, log_scale = self.moments(context)
        return normal_log_density((z - mean) * (-log_scale).exp()) - log_scale.sum(1)

    def color(self, white: Tensor, context: Tensor | None = None) -> Tensor:
        mean, log_scale = self.moments(context)
        return mean + log_scale.exp() * white

    def interpolate(self, a: Tensor, b: Tensor, times: Tensor, context: Tensor | None = None) -> Tensor:
        """Along the great circle between the white noises that make the two codes."""
        mean, log_scale = self.moments(context)
        scale = log_scale.exp()
        return mean + scale * slerp((a - mean) / scale, (b - mean) / scale, times)

    def icdf(self, probabilities: Tensor, dim: int = 0, context: Tensor | None = None) -> Tensor:
        mean, log_scale = self.moments(context)
        return mean[0, dim] + log_scale[0, dim].exp() * torch.special.ndtri(probabilities)

    def mean(self, context: Tensor | None = None) -> Tensor:
        return self.moments(context)[0]


class ConditionalNormalConfig(Config):
    """Normal with a mean and a scale for each feature that follow the condition.

    >>> from maquette.core.spaces import Vector
    >>> base = ConditionalNormalConfig(hidden=(8,)).build(Layout(Vector(dim=2), Vector(dim=1)))
    >>> mean, log_scale = base.moments(torch.ones(5, 1))
    >>> mean.shape, log_scale.shape
    (torch.Size([5, 2]), torch.Size([5, 2]))
    """

    kind: Literal["conditional-normal"] = "conditional-normal"
    hidden: tuple[Width, ...] = Field(default=(64,), description="widths of the hidden layers of the MLP")

    def build(self, layout: Layout) -> ConditionalNormal:
        return ConditionalNormal(layout, self.hidden)
