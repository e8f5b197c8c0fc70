"""Laws of quantised codes: gradients reach the encoder straight through."""

from __future__ import annotations

import torch

from ...families import FamilyConfig
from ...spaces import (
    Space,
)
from ..bench import (
    TOLERANCES,
    assert_near,
    batch_of,
    shaken,
)


def check_straight_through(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """The decoder takes codebook entries, and its gradients by them reach the encoder's vectors unchanged.

    The gradients of all vectors with one code sum to the decoder's gradient by that entry. It is checked at the finest
    level, where nothing else depends on a vector.
    """
    model, batch = shaken(config, space, condition), batch_of(space, condition, 16)
    tolerance = TOLERANCES[config.tolerance]
    found, entries = model.quantise(batch.x, batch.condition), model.codebooks[-1].entries.requires_grad_()
    decoded = model.generate(found.codes, batch.condition)
    assert_near(found.parameters, decoded, tolerance, "what is decoded from vectors")
    weight = torch.randn(decoded.shape, generator=torch.Generator().manual_seed(3), dtype=decoded.dtype)
    slopes = torch.autograd.grad((weight * found.parameters).sum(), found.vectors[-1:], materialize_grads=True)
    (wanted,) = torch.autograd.grad((weight * decoded).sum(), entries)
    felt = torch.zeros_like(wanted).index_add(0, found.codes[-1].flatten(), slopes[0].flatten(0, -2))
    assert_near(felt, wanted, tolerance, "the gradient that reaches vectors")
