"""What networks see of conditions: features, and fields on the grid of the samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Context(NamedTuple):
    """The conditions of a batch of samples. Families pass it on; only networks look inside.

    Being a tuple of tensors, it passes through `torch.compile`, `torch.export`, `vmap` and sharded modules.

    Attributes:
        vector: features (B, C), or None.
        fields: channels (B, K, *grid) on the grid of the samples, or None.

    >>> import torch
    >>> context = Context(vector=torch.ones(2, 3), fields=torch.ones(2, 1, 4, 4))
    >>> twice = context.map(lambda tensor: tensor.repeat_interleave(2, dim=0))  # two samples for each condition
    >>> twice.vector.shape, twice.fields.shape
    (torch.Size([4, 3]), torch.Size([4, 1, 4, 4]))
    """

    vector: Tensor | None = None
    fields: Tensor | None = None

    def map(self, function: Callable[[Tensor], Tensor]) -> Context:
        """Apply a function to what there is of features and fields.

        >>> import torch
        >>> Context(torch.ones(2, 3)).map(lambda tensor: tensor[:1])
        Context(vector=tensor([[1., 1., 1.]]), fields=None)
        """
        return Context(
            None if self.vector is None else function(self.vector),
            None if self.fields is None else function(self.fields),
        )


NO_CONTEXT = Context()
"""The context of a model without condition."""
