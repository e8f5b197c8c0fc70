"""Conditions that may be left out, so that one network learns the conditional and the unconditional distribution.

Classifier-free guidance (Ho & Salimans, arXiv:2207.12598) needs both. All parts of a condition are left out together:
real numbers and fields are then zero, integers and labels the level 0 (one-hot where levels are), angles 0. A further
part "given" is 1 for a condition and 0 for one that is left out, so that every network that takes conditions can tell
it from a condition that happens to have these values.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..context import Context
from ..data import Batch
from ..errors import ConfigError
from ..layout import Layout
from ..noise import Noise
from ..spaces import Levels, Product, Simple, Space, Tree, Vector, as_parts, from_parts, named, support_of
from ..values import check

GIVEN = "given"


def with_given(condition: Space | None) -> Product:
    """The space of conditions and of whether they are given; raises `ConfigError`.

    >>> list(with_given(Vector(dim=1)).parts)
    ['condition', 'given']
    """
    if condition is None:
        raise ConfigError("drop: there is no condition to leave out; set it to 0.")
    parts = as_parts(condition)
    if GIVEN in parts:
        raise ConfigError(f'drop: "{GIVEN}" names the mark of a condition that is given; rename that part of it.')
    return Product(parts={**parts, GIVEN: Vector(dim=1)})


@dataclass(frozen=True)
class OptionalLayout(Layout):
    """A layout whose condition, one of the space `with_given`, is a value of the original space or None.

    >>> layout = OptionalLayout(Vector(dim=2), with_given(Vector(dim=1)))
    >>> x, c = torch.zeros(3, 2), torch.ones(3, 1)
    >>> layout.context(c, x, given=torch.tensor([True, True, False])).vector.tolist()
    [[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]
    >>> torch.equal(layout.context(None, x).vector, torch.zeros(3, 2))
    True
    """

    def context(self, condition: Tree | None, like: Tensor, given: Tensor | None = None) -> Context:
        """The context of conditions, or of none; `given` (B,) is false where a condition is to be left out."""
        assert isinstance(self.condition, Product)
        parts = {name: part for name, part in self.condition.parts.items() if name != GIVEN}
        if condition is None:
            values = {name: _nothing(part, like) for name, part in parts.items()}
            mark = like.new_zeros(like.shape[0], 1)
        else:
            values, mark = named(condition), like.new_ones(like.shape[0], 1)
            check(from_parts(parts), condition, what="condition")
        if given is not None:
            values = {name: value * _like(given, value) for name, value in values.items()}
            mark = mark * _like(given, mark)
        return super().context({**values, GIVEN: mark}, like)


def _nothing(part: Simple, like: Tensor) -> Tensor:
    discrete = isinstance(support_of(part), Levels)
    return torch.zeros(like.shape[0], *part.shape, dtype=torch.int64 if discrete else like.dtype, device=like.device)


def _like(given: Tensor, value: Tensor) -> Tensor:
    return given.to(value.dtype).reshape(-1, *(1,) * (value.ndim - 1))


def laid_out(space: Space, condition: Space | None, drop: float) -> Layout:
    """The layout of a model that leaves out conditions with probability `drop` in training.

    >>> laid_out(Vector(dim=2), Vector(dim=1), 0.0).context_features
    1
    >>> laid_out(Vector(dim=2), Vector(dim=1), 0.1).context_features
    2
    """
    return OptionalLayout(space, with_given(condition)) if drop else Layout(space, condition)


def context_of_batch(layout: Layout, batch: Batch, like: Tensor, noise: Noise, drop: float) -> Context:
    """The context of a batch in training, some conditions left out; reads the noise "given" () if `drop` is above 0.

    >>> from maquette.core.noise import KeyedNoise
    >>> layout, index = laid_out(Vector(dim=2), Vector(dim=1), 0.25), torch.arange(1000)
    >>> batch = Batch(torch.zeros(1000, 2), torch.ones(1000, 1), index)
    >>> given = context_of_batch(layout, batch, batch.x, KeyedNoise(0, index), 0.25).vector[:, 1].mean()
    >>> bool((given - 0.75).abs() < 0.05)
    True
    """
    if not isinstance(layout, OptionalLayout):
        return layout.context(batch.condition, like)
    return layout.context(batch.condition, like, noise.uniform("given") >= drop)
