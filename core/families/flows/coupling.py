"""Coupling flows: a network of half of the features and the context computes a bijection of the other half.

The scheme of Dinh et al., "NICE", arXiv:1410.8516, and "RealNVP", arXiv:1605.08803, for any univariate bijection, and
the family with shifts and scales. Couplings come in pairs: the second transforms the half that the first left
unchanged. A fixed random permutation of the features precedes each pair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, cast

import torch
from pydantic import Field
from torch import LongTensor, Tensor, nn
from zuko.transforms import PermutationTransform

from ...config import Width
from ...errors import ConfigError
from ...layout import Layout
from ...nets.init import zero_init
from ...nets.mlp import MLP
from ...spaces import Space
from .. import families
from .bijection import Bijection, LazyTransform, UnivariateBijection, ZukoTransform
from .elementwise import Additive, Affine, Elementwise, Univariate
from .flow import Flow, FlowConfig


class _CouplingTransform(Bijection):
    """y = (a, f(b; a)), or (f(a; b), b) if `first`, for x = (a, b) split at `cut`.

    zuko's coupling gathers and scatters by a mask. A cut is enough here, because permutations separate the couplings.

    Args:
        meta: gives the bijection f of the transformed part for the identity part (zuko's word).
        cut: features of a.
        first: whether a is transformed instead of b.
    """

    def __init__(self, meta: Callable[[Tensor], UnivariateBijection], cut: int, *, first: bool) -> None:
        super().__init__()
        self.meta, self.cut, self.first = meta, cut, first

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The identity part and the transformed part."""
        a, b = x[..., : self.cut], x[..., self.cut :]
        return (b, a) if self.first else (a, b)

    def _merge(self, identity: Tensor, transformed: Tensor) -> Tensor:
        return torch.cat((transformed, identity) if self.first else (identity, transformed), dim=-1)

    def inverse(self, y: Tensor) -> Tensor:
        identity, transformed = self._split(y)
        return self._merge(identity, self.meta(identity).inverse(transformed))

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        identity, transformed = self._split(x)
        transformed, ladj = self.meta(identity).call_and_ladj(transformed)
        return self._merge(identity, transformed), ladj.sum(dim=-1)


class Coupling(LazyTransform):
    """Lazy coupling of x (B, D) split at `cut`.

    Args:
        network: the conditioner, (B, I + C) to (B, P T): I identity features and C of the context to the parameters of
            T transformed features, as P blocks of T.
        univariate: the bijections, with P parameters each.
        cut: features of the first part.
        first: whether the first part is transformed instead of the second.

    >>> coupling = Coupling(nn.Linear(2, 2), Affine(), cut=2, first=False)
    >>> y, ladj = coupling(None).call_and_ladj(torch.ones(5, 3))
    >>> y[:, :2].unique(), ladj.shape
    (tensor([1.], grad_fn=<Unique2Backward0>), torch.Size([5]))
    """

    def __init__(self, network: nn.Module, univariate: Univariate, cut: int, *, first: bool) -> None:
        super().__init__()
        self.network, self.univariate, self.cut, self.first = network, univariate, cut, first

    def forward(self, context: Tensor | None) -> Bijection:
        def meta(identity: Tensor) -> UnivariateBijection:
            inputs = identity if context is None else torch.cat((identity, context), dim=-1)
            return self.univariate(self.network(inputs).unflatten(-1, (self.univariate.size, -1)))

        return _CouplingTransform(meta, self.cut, first=self.first)

    def extra_repr(self) -> str:
        return f"univariate={self.univariate}, cut={self.cut}, first={self.first}"


class Permutation(LazyTransform):
    """Lazy permutation of the features: y = x[..., order].

    >>> Permutation(torch.tensor([2, 0, 1]))(None)(torch.tensor([5.0, 6.0, 7.0]))
    tensor([7., 5., 6.])
    """

    order: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("order", order)

    def forward(self, context: Tensor | None) -> Bijection:
        return ZukoTransform(PermutationTransform(cast(LongTensor, self.order)))

    def extra_repr(self) -> str:
        return f"features={len(self.order)}"


ConditionerFactory = Callable[[int, int], nn.Module]
"""factory(I, outputs) -> the network of a `Coupling` with I identity features, which starts as the zero function."""


def mlp_conditioners(layout: Layout, hidden: Sequence[int]) -> ConditionerFactory:
    """MLPs with hidden layers of these widths.

    >>> from maquette.core.spaces import Vector
    >>> network = mlp_conditioners(Layout(Vector(dim=5), Vector(dim=3)), hidden=(8,))(2, 6)
    >>> network(torch.ones(1, 2 + 3)).tolist()
    [[0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
    """

    def network(identity: int, outputs: int) -> nn.Module:
        mlp = MLP(identity + layout.context_features, hidden, outputs)
        last = mlp[-1]
        assert isinstance(last, nn.Linear)
        zero_init(last)
        return mlp

    return network


def couplings(
    layout: Layout,
    count: int,
    univariate: Univariate,
    conditioner: ConditionerFactory,
    *,
    kind: str,
    restore_order: bool = False,
) -> list[LazyTransform]:
    """`count` couplings in pairs, a permutation before each pair; together they start as a permutation.

    Args:
        layout: of the samples.
        count: number of couplings, even.
        univariate: the bijections.
        conditioner: makes the network of each coupling.
        kind: of the family, for error messages.
        restore_order: whether to end with the permutation that undoes all others, so that each code is at the position
            of its feature: for base distributions that are not exchangeable.

    Raises:
        ConfigError: fewer than two features, or an odd count.

    >>> from maquette.core.spaces import Vector
    >>> layout = Layout(Vector(dim=5))
    >>> lazies = couplings(layout, 4, Affine(), mlp_conditioners(layout, (8,)), kind="coupling")
    >>> [type(lazy).__name__ for lazy in lazies]
    ['Permutation', 'Coupling', 'Coupling', 'Permutation', 'Coupling', 'Coupling']
    """
    if layout.features < 2:
        raise ConfigError(
            f"{kind}: a coupling needs at least 2 features per sample, found 1; use an autoregressive scheme."
        )
    if count % 2:
        raise ConfigError(f"{kind}: couplings come in pairs, found {count}; choose an even number.")
    cut, positions = layout.features // 2, torch.arange(layout.features)
    transforms: list[LazyTransform] = []
    for _ in range(count // 2):
        order = torch.randperm(layout.features)
        positions = positions[order]
        transforms.append(Permutation(order))
        for first in (False, True):
            transformed = cut if first else layout.features - cut
            network = conditioner(layout.features - transformed, univariate.size * transformed)
            transforms.append(Coupling(network, univariate, cut, first=first))
    return [*transforms, Permutation(positions.argsort())] if restore_order else transforms


def single_feature(layout: Layout, univariate: Univariate, conditioner: ConditionerFactory) -> LazyTransform:
    """A transform of samples of one feature: a coupling without an identity part, whose network sees the context.

    Without a condition, the parameters of the bijection are learned directly.

    >>> from maquette.core.spaces import Vector
    >>> layout = Layout(Vector(dim=1), Vector(dim=2))
    >>> lazy = single_feature(layout, Affine(), mlp_conditioners(layout, (8,)))
    >>> lazy(torch.zeros(5, 2))(torch.ones(5, 1)).shape
    torch.Size([5, 1])
    """
    if not layout.context_features:
        return Elementwise(layout, univariate)
    return Coupling(conditioner(0, univariate.size), univariate, 0, first=False)


@families.register("coupling")
class CouplingConfig(FlowConfig):
    """Coupling flow of shifts (NICE) or of shifts and scales (RealNVP).

    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> flow = CouplingConfig(transforms=2, hidden=(16,)).build(Vector(dim=3), Vector(dim=2))
    >>> condition, noise = torch.randn(5, 2), KeyedNoise(0, torch.arange(5))
    >>> x = flow.sample(5, condition, noise=noise)
    >>> x.shape, flow.log_prob(x, condition).shape
    (torch.Size([5, 3]), torch.Size([5]))
    """

    summary: ClassVar[str] = "half of the features shift and scale the other half (NICE, RealNVP)"
    reference: ClassVar[str] = "Dinh et al., arXiv:1410.8516 (additive), arXiv:1605.08803 (affine)"

    kind: Literal["coupling"] = "coupling"
    bijection: Literal["additive", "affine"] = Field(
        default="affine",
        description="shifts only (NICE, with one scale per feature at the end), or shifts and scales",
    )
    transforms: int = Field(default=8, ge=2, description="number of couplings, even")
    hidden: tuple[Width, ...] = Field(default=(256, 256), description="widths of each network's hidden layers")

    def build(self, space: Space, condition: Space | None = None) -> Flow:
        layout = Layout(space, condition)
        additive = self.bijection == "additive"
        univariate = Additive() if additive else Affine()
        conditioner = mlp_conditioners(layout, self.hidden)
        transforms = couplings(
            layout, self.transforms, univariate, conditioner, kind=self.kind, restore_order=not self.exchangeable
        )
        if additive:  # shifts keep volumes; the scales at the end may be wide, since no others multiply them
            transforms.append(Elementwise(layout, Affine(bound=10.0)))
        return Flow(layout, transforms, self.base.build(layout))

    @classmethod
    def example(cls) -> CouplingConfig:
        return cls(transforms=4, hidden=(16,))
