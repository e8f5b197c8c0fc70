"""Spline coupling flow: half of the numbers, and the condition, say how the other half is bent.

Durkan et al., arXiv:1906.04032, in the coupling scheme of Dinh et al., arXiv:1605.08803. Fixed random permutations
stand between the couplings; they come in pairs of which the second transforms the half that the first left alone,
so that every number is transformed equally often.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Transform, constraints
from zuko.transforms import PermutationTransform

from ...errors import ConfigError
from ...layout import Layout
from ...nets.embeddings import zero
from ...nets.mlp import MLP
from ...spaces import Space
from .. import FamilyConfig, families
from .flow import Flow
from .spline import SplineTransform, parameters_of


class HalfCouplingTransform(Transform):
    """y = (a, f(b; a)), or (f(a; b), b) if `first`, for x = (a, b) cut at `cut`.

    zuko's coupling gathers and scatters by a mask; with permutations between the couplings a cut will do.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, meta: Callable[[Tensor], Transform], cut: int, *, first: bool) -> None:
        super().__init__()
        self.meta, self.cut, self.first = meta, cut, first

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The part that stays and the part that is bent."""
        a, b = x[..., : self.cut], x[..., self.cut :]
        return (b, a) if self.first else (a, b)

    def _join(self, stays: Tensor, bent: Tensor) -> Tensor:
        return torch.cat((bent, stays) if self.first else (stays, bent), dim=-1)

    def _call(self, x: Tensor) -> Tensor:
        stays, bent = self._split(x)
        return self._join(stays, self.meta(stays)(bent))  # type: ignore[arg-type]

    def _inverse(self, y: Tensor) -> Tensor:
        stays, bent = self._split(y)
        return self._join(stays, self.meta(stays).inv(bent))  # type: ignore[arg-type]

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (..., D) to (y (..., D), log-determinant (...))."""
        stays, bent = self._split(x)
        bent, ladj = self.meta(stays).call_and_ladj(bent)  # type: ignore[attr-defined]
        return self._join(stays, bent), ladj.sum(dim=-1)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self.call_and_ladj(x)[1]


class SplineCoupling(nn.Module):
    """Lazy coupling: a network sees one half and the condition, and bends the other half by splines."""

    def __init__(self, layout: Layout, config: SplineCouplingConfig, *, first: bool) -> None:
        super().__init__()
        self.first, self.cut, self.bins, self.bound = first, layout.width // 2, config.bins, config.bound
        bent = self.cut if first else layout.width - self.cut
        self.network = MLP(layout.width - bent + layout.context, config.hidden, parameters_of(self.bins) * bent)
        last = self.network[-1]
        assert isinstance(last, nn.Linear)
        zero(last)

    def forward(self, columns: Tensor | None) -> Transform:
        def meta(stays: Tensor) -> Transform:
            inputs = stays if columns is None else torch.cat((stays, columns), dim=-1)
            return SplineTransform(self.network(inputs).unflatten(-1, (parameters_of(self.bins), -1)), self.bound)

        return HalfCouplingTransform(meta, self.cut, first=self.first)


class Permutation(nn.Module):
    """Lazy permutation of the numbers of a row: y = x[order]."""

    order: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("order", order)

    def forward(self, columns: Tensor | None) -> Transform:
        return PermutationTransform(self.order)  # type: ignore[arg-type]


@families.register("spline-coupling")
class SplineCouplingConfig(FamilyConfig):
    """Coupling flow of rational-quadratic splines."""

    summary: ClassVar[str] = "half of the numbers bend the other half by monotonic splines"
    reference: ClassVar[str] = "Durkan et al., arXiv:1906.04032"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "product")
    model: ClassVar[type[nn.Module]] = Flow

    kind: Literal["spline-coupling"] = "spline-coupling"
    couplings: int = Field(default=8, ge=2, description="number of couplings, even")
    hidden: tuple[int, ...] = Field(default=(256, 256), description="widths of each network's hidden layers")
    bins: int = Field(default=8, ge=2, description="bins of a spline")
    bound: float = Field(default=5.0, gt=0, description="splines bend [-bound, bound] and leave the rest alone")

    def build(self, space: Space, condition: Space | None = None) -> Flow:
        layout = Layout(space, condition)
        if layout.width < 2:
            raise ConfigError(
                "spline-coupling: a coupling needs at least 2 numbers per sample, found 1; use spline-autoregressive."
            )
        if self.couplings % 2:
            raise ConfigError(
                f"spline-coupling: couplings come in pairs, found {self.couplings}; choose an even number."
            )
        transforms: list[nn.Module] = []
        for _ in range(self.couplings // 2):
            transforms.append(Permutation(torch.randperm(layout.width)))
            transforms += [SplineCoupling(layout, self, first=False), SplineCoupling(layout, self, first=True)]
        return Flow(layout, transforms)

    @classmethod
    def example(cls) -> SplineCouplingConfig:
        return cls(couplings=4, hidden=(16,), bins=4)
