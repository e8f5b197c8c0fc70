"""What every space of one kind of sample has: the tensors that a value consists of, and how they are flattened."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from .supports import Frozen

Tree = Tensor | dict[str, Tensor]
"""A batch of samples: one tensor, or named tensors, leading axis B."""


class Part(Frozen):
    """A space that can be a whole sample or, if its value is one tensor, a part of a product.

    >>> from maquette.core.spaces import Sequence
    >>> part: Part = Sequence(length=3, vocabulary=5, variable=True)
    >>> part.shape, part.shapes
    ((3,), {'tokens': (3,), 'length': ()})
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of a sample; of one that consists of several tensors, that of the flattened sample."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors of a sample, by name; "" names the only one."""
        return {"": self.shape}

    def flatten(self, value: Tree) -> Tensor:
        """Samples as (B, size)."""
        assert isinstance(value, Tensor)
        return value.flatten(1)

    def unflatten(self, flat: Tensor) -> Tree:
        """Inverse of `flatten`."""
        return flat.unflatten(1, self.shape)
