"""A chain of two families, p(a | c) p(b | a, c): trained with true a, sampled and scored by composition.

What calorimeter models do with layer energies and voxels (Krause & Shih, "CaloFlow", arXiv:2106.05285), and image
models with codes and pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from ..capabilities import capabilities
from ..data import Batch
from ..errors import ConfigError, did_you_mean
from ..noise import Noise
from ..objective import Stage, transform_batches
from ..spaces import Product, Simple, Space, Tree
from . import AnyFamily, FamilyConfig, families


def _of(parts: Mapping[str, Simple]) -> Space:
    """The space of some parts; a lone one stands for itself."""
    return next(iter(parts.values())) if len(parts) == 1 else Product(parts=dict(parts))


@dataclass(frozen=True)
class Split:
    """Which parts of a sample come first, and how values are cut and joined accordingly."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    condition_parts: tuple[str, ...]
    """Names of the condition's parts; a lone condition is called "condition"."""
    labels: tuple[str, str]
    """What the two families' stages and noise are called."""

    def take(self, x: Tree, names: Sequence[str]) -> Tree:
        """The named parts of a sample; a lone one as its tensor."""
        assert not isinstance(x, Tensor)
        return x[names[0]] if len(names) == 1 else {name: x[name] for name in names}

    def named(self, value: Tree | None, names: Sequence[str]) -> dict[str, Tensor]:
        """Inverse of `take`."""
        if value is None:
            return {}
        return {names[0]: value} if isinstance(value, Tensor) else dict(value)

    def given(self, condition: Tree | None, a: Tree) -> Tree:
        """What the second family is conditioned on."""
        both = self.named(condition, self.condition_parts) | self.named(a, self.first)
        return next(iter(both.values())) if len(both) == 1 else both


class Chain(nn.Module):
    """Samples the second family given what the first one sampled."""

    first: Any
    second: Any

    def __init__(self, split: Split, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.split, self.first, self.second = split, first, second

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Draw n samples; each family reads its noise under its label."""
        split, (one, two) = self.split, self.split.labels
        a = self.first.sample(n, condition, noise=noise.fold(one))
        b = self.second.sample(n, split.given(condition, a), noise=noise.fold(two))
        return split.named(a, split.first) | split.named(b, split.second)

    def stages(self) -> list[Stage]:
        """The stages of the first family, then those of the second; a stage called "fit" bears the family's name."""
        one, two = self.split.labels
        first = transform_batches(self.first.stages(), self._first_view, label=one)
        return first + transform_batches(self.second.stages(), self._second_view, label=two)

    def _first_view(self, batch: Batch, noise: Noise) -> Batch:
        return replace(batch, x=self.split.take(batch.x, self.split.first))

    def _second_view(self, batch: Batch, noise: Noise) -> Batch:
        a, b = self.split.take(batch.x, self.split.first), self.split.take(batch.x, self.split.second)
        return replace(batch, x=b, condition=self.split.given(batch.condition, a))


class DensityChain(Chain):
    """A chain of two families that both know their density."""

    def log_prob(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """log p(a | c) + log p(b | a, c), shape (B,), nats."""
        a, b = self.split.take(x, self.split.first), self.split.take(x, self.split.second)
        return self.first.log_prob(a, condition) + self.second.log_prob(b, self.split.given(condition, a))

    @property
    def likelihood_notes(self) -> tuple[str, ...]:
        both = zip(self.split.labels, (self.first, self.second), strict=True)
        return tuple(f"{label}: {each}" for label, model in both for each in getattr(model, "account", ()))


@families.register("chain")
class ChainConfig(FamilyConfig):
    """Two families in sequence."""

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
    names: tuple[str, str] = Field(default=("first", "second"), description="what the two families' stages are called")

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
        c: dict[str, Simple] = {}
        if condition is not None:
            c = dict(condition.parts) if isinstance(condition, Product) else {"condition": condition}
        if shared := sorted(set(a) & set(c)):
            raise ConfigError(f"chain: {shared} name parts of both the sample and the condition; rename one of them.")
        first, second = self.first.build(_of(a), condition), self.second.build(_of(b), _of(c | a))
        dense = all("density" in capabilities(family) for family in (first, second))
        return (DensityChain if dense else Chain)(Split(tuple(a), tuple(b), tuple(c), self.names), first, second)

    @classmethod
    def example(cls) -> ChainConfig:
        from .flows.spline import SplineConfig as Flow  # here, or the two packages would import each other

        return cls(first=Flow.example(), second=Flow.example(), split=("a",))
