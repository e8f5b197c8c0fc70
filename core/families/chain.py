"""A chain of two families, p(a | c) p(b | a, c): trained with true a, sampled and scored by composition.

Calorimeter models do this with layer energies and voxels (Krause & Shih, "CaloFlow", arXiv:2106.05285), image models
with codes and pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

from pydantic import Field
from torch import Tensor, nn

from ..capabilities import capabilities
from ..config import kind_of
from ..data import Batch
from ..errors import ConfigError, SpaceError, did_you_mean
from ..grids import require_alike
from ..noise import Noise
from ..objective import Stage, transform_batches
from ..spaces import Product, Space, Tree, as_parts, from_named, from_parts, named
from . import AnyFamily, FamilyConfig, families
from .sampling import share


def take(x: Tree, names: Sequence[str]) -> Tree:
    """Return the named parts of a sample, for one name its tensor; raises `SpaceError` for a sample without names.

    >>> import torch
    >>> take({"a": torch.zeros(4, 2), "b": torch.zeros(4, 3)}, ["a"]).shape
    torch.Size([4, 2])
    """
    if isinstance(x, Tensor):
        raise SpaceError("x: a chain expects named tensors, found one tensor.")
    return from_named({name: x[name] for name in names})


@dataclass(frozen=True)
class Split:
    """Which parts of a sample each of the two families models.

    Attributes:
        first: names of the parts a.
        second: names of the parts b.
        labels: names of the two families' stages and noise.

    >>> import torch
    >>> split = Split(("a",), ("b",), ("first", "second"))
    >>> sorted(split.join(torch.zeros(4, 2), torch.zeros(4, 3)))
    ['a', 'b']
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    labels: tuple[str, str]

    def join(self, a: Tree, b: Tree) -> Tree:
        """One sample from the parts a and b."""
        return named(a, self.first[0]) | named(b, self.second[0])

    def second_condition(self, condition: Tree | None, a: Tree) -> Tree:
        """The condition of the second family: that of the chain, and a."""
        return from_named(named(condition) | named(a, self.first[0]))


class Chain(nn.Module):
    """Samples the second family given what the first one sampled.

    Args:
        split: which parts each family models.
        space: of the samples that are drawn.
        first: model of a given the condition.
        second: model of b given the condition and a.

    >>> import torch
    >>> from maquette.core.spaces import Vector
    >>> space = Product(parts={"a": Vector(dim=2), "b": Vector(dim=3)})
    >>> model: Chain = ChainConfig(first={"kind": "gan"}, second={"kind": "spline"}, split=["a"]).build(space)
    >>> [stage.name for stage in model.stages()], capabilities(model)  # a GAN has no density, so the chain has none
    (['first', 'second'], ('sample', 'at'))
    """

    first: Any
    second: Any

    def __init__(self, split: Split, space: Space, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.split, self.space, self.first, self.second = split, space, first, second

    def extra_repr(self) -> str:
        return f"{', '.join(self.split.first)} -> {', '.join(self.split.second)}"

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Draw n samples; each family reads its noise under its label."""
        split, (one, two) = self.split, self.split.labels
        a = self.first.sample(n, condition, noise=noise.fold(one))
        b = self.second.sample(n, split.second_condition(condition, a), noise=noise.fold(two))
        return split.join(a, b)

    def at(self, space: Space) -> Self:
        """The chain for samples of other grids, sharing its weights; a family whose parts do not change stays as it is.

        Raises:
            ConfigError: a family whose weights belong to one grid, or a space that differs in more than its sides.

        >>> from maquette.core.families.diffusion.flow_matching import FlowMatchingConfig
        >>> from maquette.core.nets.unet import UNetConfig
        >>> from maquette.core.spaces import Field as Grid, Vector, flatten
        >>> network = UNetConfig(widths=(4,), strides=(), groups=2, attention=())
        >>> config = ChainConfig(first={"kind": "spline"}, second=FlowMatchingConfig(network=network), split=["a"])
        >>> small, large = (Product(parts={"a": Vector(dim=2), "b": Grid(channels=1, grid=(n,))}) for n in (4, 6))
        >>> config.build(small).at(large).second.layout.features
        6
        """
        require_alike(self.space, space)
        families = {}
        for label, names in (("first", self.split.first), ("second", self.split.second)):
            old, new = (from_parts({name: as_parts(each)[name] for name in names}) for each in (self.space, space))
            family = getattr(self, label)
            if old != new and "at" not in capabilities(family):
                raise ConfigError(f"at: the weights of {type(family).__name__} ({label}) belong to one grid.")
            families[label] = family if old == new else family.at(new)
        if families["first"] is not self.first and families["second"] is self.second:
            raise ConfigError("at: the second family takes what the first one samples as a condition of one size.")
        return share(self, space=space, **families)

    def stages(self) -> list[Stage]:
        """The stages of the first family, then those of the second, each labelled; "fit" becomes the label alone."""
        one, two = self.split.labels
        first = transform_batches(self.first.stages(), self._first_batch, label=one)
        return first + transform_batches(self.second.stages(), self._second_batch, label=two)

    def _first_batch(self, batch: Batch, noise: Noise) -> Batch:
        return replace(batch, x=take(batch.x, self.split.first))

    def _second_batch(self, batch: Batch, noise: Noise) -> Batch:
        a, b = take(batch.x, self.split.first), take(batch.x, self.split.second)
        return replace(batch, x=b, condition=self.split.second_condition(batch.condition, a))


class DensityChain(Chain):
    """A chain of two families with a density.

    >>> import torch
    >>> from maquette.core.spaces import Vector
    >>> space = Product(parts={"a": Vector(dim=2), "b": Vector(dim=3)})
    >>> flow = {"kind": "spline", "transforms": 2}
    >>> model: DensityChain = ChainConfig(first=flow, second=flow, split=["a"]).build(space)
    >>> model.log_prob({"a": torch.zeros(4, 2), "b": torch.zeros(4, 3)}).shape, model.likelihood_notes
    (torch.Size([4]), ('first: normal base', 'second: normal base'))
    """

    def log_prob(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """log p(a | c) + log p(b | a, c), shape (B,), nats."""
        a, b = take(x, self.split.first), take(x, self.split.second)
        return self.first.log_prob(a, condition) + self.second.log_prob(b, self.split.second_condition(condition, a))

    @property
    def likelihood_notes(self) -> tuple[str, ...]:
        """The notes of both families, each after its label."""
        both = zip(self.split.labels, (self.first, self.second), strict=True)
        return tuple(f"{label}: {note}" for label, model in both for note in getattr(model, "likelihood_notes", ()))


@families.register("chain")
class ChainConfig(FamilyConfig):
    """Two families in sequence.

    >>> import torch
    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Product, Vector
    >>> space = Product(parts={"energies": Vector(dim=2), "cells": Vector(dim=3)})
    >>> model = ChainConfig(first={"kind": "spline"}, second={"kind": "spline"}, split=["energies"]).build(space)
    >>> x = model.sample(4, noise=KeyedNoise(0, torch.arange(4)))
    >>> {name: tuple(part.shape) for name, part in x.items()}
    {'energies': (4, 2), 'cells': (4, 3)}
    >>> model.log_prob(x).shape
    torch.Size([4])
    """

    summary: ClassVar[str] = (
        "one family for some parts of a sample, another for the rest given those; a density if both have"
    )
    reference: ClassVar[str] = "product rule; in calorimetry Krause & Shih, arXiv:2106.05285"
    spaces: ClassVar[tuple[str, ...]] = ("product",)
    supports: ClassVar[tuple[str, ...]] = ("real", "binary", "levels", "interval", "torus")
    model: ClassVar[type[nn.Module]] = Chain

    kind: Literal["chain"] = "chain"
    first: AnyFamily
    second: AnyFamily
    split: tuple[str, ...] = Field(min_length=1, description="names of the parts that `first` models")
    names: tuple[str, str] = Field(default=("first", "second"), description="names of the two families' stages")

    @property
    def tolerance(self) -> str:  # type: ignore[override]
        """The looser of the two families'."""
        order = ("exact", "ode", "estimator")
        return max(self.first.tolerance, self.second.tolerance, key=order.index)

    def build(self, space: Space, condition: Space | None = None) -> Chain:
        if not isinstance(space, Product):
            raise ConfigError(f"chain: expected samples of several named parts, found a {space.kind}.")
        for name in self.split:
            if name not in space.parts:
                known = list(space.parts)
                raise ConfigError(f'chain.split: there is no part "{name}".{did_you_mean(name, known)} Known: {known}.')
        a = {name: part for name, part in space.parts.items() if name in self.split}
        b = {name: part for name, part in space.parts.items() if name not in self.split}
        if len(set(self.names)) < 2:
            raise ConfigError(f"chain.names: the two families need different names, found {list(self.names)}.")
        if not b:
            raise ConfigError(f"chain.split: {list(a)} are all the parts there are; leave one for the second family.")
        c = as_parts(condition)
        if shared := sorted(set(a) & set(c)):
            raise ConfigError(f"chain: {shared} name parts of both the sample and the condition; rename one of them.")
        first, second = self.first.build(from_parts(a), condition), self.second.build(from_parts(b), from_parts(c | a))
        if self.first.samples(from_parts(a)) != from_parts(a):
            raise ConfigError(
                f"chain.first: {kind_of(self.first)} samples another space than it is trained on, which the second "
                "family is not trained to take as its condition."
            )
        dense = all("density" in capabilities(family) for family in (first, second))
        split = Split(tuple(a), tuple(b), self.names)
        return (DensityChain if dense else Chain)(split, self.samples(space), first, second)

    def samples(self, space: Space) -> Space:
        """The parts of `space`, those of the second family as it samples them."""
        parts = as_parts(space)
        second = {name: part for name, part in parts.items() if name not in self.split}
        return Product(parts=parts | as_parts(self.second.samples(from_parts(second)), next(iter(second))))

    @classmethod
    def example(cls) -> ChainConfig:
        flow = families.get("spline").example()
        return cls(first=flow, second=flow, split=("a",))
