"""A small family with an energy and a density in closed form: the laws of energies are tried on it."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ..families import FamilyConfig
from ..layout import Layout
from ..spaces import Space, Tree


class Quadratic(nn.Module):
    """U(x) = |W (x - V c)|^2 / 2, W triangular: p(x | c) = N(x; V c, (W^T W)^-1) has the constant (2 pi)^(D/2) / |W|.

    >>> from maquette.core.spaces import Vector
    >>> model = Quadratic(Layout(Vector(dim=2)))
    >>> x = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    >>> model.energy(x)
    tensor([ 0.0000, 12.5000], grad_fn=...)
    >>> model.log_prob(x) + model.energy(x)  # minus log(2 pi)
    tensor([-1.8379, -1.8379], grad_fn=...)
    """

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout
        self.factor = nn.Parameter(torch.zeros(layout.features, layout.features))
        self.shift = nn.Parameter(torch.ones(layout.context_features, layout.features))

    def energy(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """U(x), (B,), nats; without the constant."""
        x = self.layout.flatten(x)
        context = self.layout.context(condition, x).vector
        away = x if context is None else x - context @ self.shift
        factor = self.factor.tril(-1) + torch.diag_embed(self.factor.diagonal().exp())
        return 0.5 * (away @ factor.T).square().sum(1)

    def log_prob(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """The exact log-density, (B,), nats."""
        log_z = 0.5 * self.layout.features * math.log(2 * math.pi) - self.factor.diagonal().sum()
        return -self.energy(x, condition) - log_z


class QuadraticConfig(FamilyConfig):
    """The config of a quadratic energy.

    >>> from maquette.core.spaces import Vector
    >>> type(QuadraticConfig().build(Vector(dim=2))).__name__
    'Quadratic'
    """

    summary: ClassVar[str] = "a quadratic energy"
    reference: ClassVar[str] = "none"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "product")
    model: ClassVar[type[nn.Module]] = Quadratic

    kind: Literal["quadratic"] = "quadratic"

    def build(self, space: Space, condition: Space | None = None) -> Quadratic:
        return Quadratic(Layout(space, condition))
