"""Coupling flows: half of the numbers, and the condition, say how the other half is bent.

The scheme of Dinh et al., "NICE", arXiv:1410.8516, and "RealNVP", arXiv:1605.08803, for any elementwise bijection, and
the family of its shifts and scales. Fixed random permutations stand between the couplings; they come in pairs of which
the second transforms the half that the first left alone, so that every number is transformed equally often.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Transform
from zuko.transforms import PermutationTransform

from ...config import Width
from ...errors import ConfigError
from ...layout import Layout
from ...nets.init import zero_init
from ...nets.mlp import MLP
from ...spaces import Space
from .. import families
from .bijection import Bijection
from .elementwise import Additive, Affine, Alone, Elementwise
from .flow import Flow, FlowConfig


class HalfCouplingTransform(Bijection):
    """y = (a, f(b; a)), or (f(a; b), b) if `first`, for x = (a, b) cut at `cut`.

    zuko's coupling gathers and scatters by a mask; with permutations between the couplings a cut will do.
    """

    def __init__(self, meta: Callable[[Tensor], Transform], cut: int, *, first: bool) -> None:
        super().__init__()
        self.meta, self.cut, self.first = meta, cut, first

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The part that stays and the part that is bent."""
        a, b = x[..., : self.cut], x[..., self.cut :]
        return (b, a) if self.first else (a, b)

    def _join(self, stays: Tensor, bent: Tensor) -> Tensor:
        return torch.cat((bent, stays) if self.first else (stays, bent), dim=-1)

    def _inverse(self, y: Tensor) -> Tensor:
        stays, bent = self._split(y)
        return self._join(stays, self.meta(stays).inv(bent))  # type: ignore[arg-type]

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        stays, bent = self._split(x)
        bent, ladj = self.meta(stays).call_and_ladj(bent)  # type: ignore[attr-defined]
        return self._join(stays, bent), ladj.sum(dim=-1)


class Coupling(nn.Module):
    """Lazy coupling of rows (B, D) cut at `cut`: the later numbers are bent, or the earlier ones if `first`.

    Args:
        network: (B, S + C) to (B, P N): the S numbers that stay, and the C of the condition beside them, to the
            parameters of the N that are bent, P rows of N.
        elementwise: how a number is bent by P parameters.
    """

    def __init__(self, network: nn.Module, elementwise: Elementwise, cut: int, *, first: bool) -> None:
        super().__init__()
        self.network, self.elementwise, self.cut, self.first = network, elementwise, cut, first

    def forward(self, context: Tensor | None) -> Transform:
        def meta(stays: Tensor) -> Transform:
            inputs = stays if context is None else torch.cat((stays, context), dim=-1)
            return self.elementwise(self.network(inputs).unflatten(-1, (self.elementwise.size, -1)))

        return HalfCouplingTransform(meta, self.cut, first=self.first)


class Permutation(nn.Module):
    """Lazy permutation of the numbers of a row: y = x[order]."""

    order: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("order", order)

    def forward(self, context: Tensor | None) -> Transform:
        return PermutationTransform(self.order)  # type: ignore[arg-type]


Networks = Callable[[int, int], nn.Module]
"""networks(S numbers that stay, outputs) -> a network for `Coupling`, which starts as the zero function."""


def perceptrons(layout: Layout, hidden: Sequence[int]) -> Networks:
    """MLPs with these hidden layers."""

    def network(stays: int, outputs: int) -> nn.Module:
        mlp = MLP(stays + layout.context_features, hidden, outputs)
        last = mlp[-1]
        assert isinstance(last, nn.Linear)
        zero_init(last)
        return mlp

    return network


def couplings(
    layout: Layout, count: int, elementwise: Elementwise, networks: Networks, *, kind: str, restore: bool = False
) -> list[nn.Module]:
    """`count` couplings in pairs, a permutation before each pair; together they start as a permutation.

    Args:
        restore: end with the permutation that takes all others back, so that a code lies where its number did: for
            bases that know one number from another.

    Raises:
        ConfigError: fewer than two numbers, or an odd count; the message names the family's `kind`.
    """
    if layout.features < 2:
        raise ConfigError(
            f"{kind}: a coupling needs at least 2 numbers per sample, found 1; use an autoregressive scheme."
        )
    if count % 2:
        raise ConfigError(f"{kind}: couplings come in pairs, found {count}; choose an even number.")
    cut, places = layout.features // 2, torch.arange(layout.features)
    transforms: list[nn.Module] = []
    for _ in range(count // 2):
        order = torch.randperm(layout.features)
        places = places[order]
        transforms.append(Permutation(order))
        for first in (False, True):
            bent = cut if first else layout.features - cut
            network = networks(layout.features - bent, elementwise.size * bent)
            transforms.append(Coupling(network, elementwise, cut, first=first))
    return [*transforms, Permutation(places.argsort())] if restore else transforms


def lone(layout: Layout, elementwise: Elementwise, networks: Networks) -> nn.Module:
    """A transform of a single number, as a network says that sees the condition; by parameters of its own without one.

    It is a coupling in which nothing stays.
    """
    if not layout.context_features:
        return Alone(layout, elementwise)
    return Coupling(networks(0, elementwise.size), elementwise, 0, first=False)


@families.register("coupling")
class CouplingConfig(FlowConfig):
    """Coupling flow of shifts (NICE) or of shifts and scales (RealNVP)."""

    summary: ClassVar[str] = "half of the numbers shift and scale the other half"
    reference: ClassVar[str] = "Dinh et al., arXiv:1410.8516 (additive), arXiv:1605.08803 (affine)"

    kind: Literal["coupling"] = "coupling"
    bijection: Literal["additive", "affine"] = Field(
        default="affine", description="shifts alone (NICE, with one scale per number at the end), or shifts and scales"
    )
    transforms: int = Field(default=8, ge=2, description="number of couplings, even")
    hidden: tuple[Width, ...] = Field(default=(256, 256), description="widths of each network's hidden layers")

    def build(self, space: Space, condition: Space | None = None) -> Flow:
        layout = Layout(space, condition)
        additive = self.bijection == "additive"
        elementwise = Additive() if additive else Affine()
        networks = perceptrons(layout, self.hidden)
        bent = couplings(layout, self.transforms, elementwise, networks, kind=self.kind, restore=self.ordered)
        # shifts keep volumes, so that NICE ends in scales, of any size since nothing multiplies them
        return Flow(layout, [*bent, Alone(layout, Affine(bound=10.0))] if additive else bent, self.base.build(layout))

    @classmethod
    def example(cls) -> CouplingConfig:
        return cls(transforms=4, hidden=(16,))
