"""Laws of quantised codes: straight-through gradients (van den Oord et al., arXiv:1711.00937, section 3.2).

>>> from maquette.core.families.vae.vq_vae import VQVAEConfig
>>> from maquette.core.spaces import Vector
>>> check_straight_through(VQVAEConfig.example(), Vector(dim=3), None)  # it holds: nothing is raised
"""

from __future__ import annotations

import torch

from ...families import FamilyConfig
from ...spaces import Space
from ..bench import TOLERANCES, assert_near, batch_of, shaken


def check_straight_through(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """The decoder reads codebook entries, and the gradients of these are passed on unchanged to the encoder's vectors.

    Several vectors may have the same code: their gradients sum to the gradient of that entry. Only the finest level is
    checked, where the loss depends on the vectors through the entries alone.
    """
    model, batch = shaken(config, space, condition), batch_of(space, condition, 16)
    tolerance = TOLERANCES[config.tolerance]
    found, entries = model.quantise(batch.x, batch.condition), model.codebooks[-1].entries.requires_grad_()
    decoded = model.generate(found.codes, batch.condition)
    assert_near(found.parameters, decoded, tolerance, "the output decoded from the vectors")
    weight = torch.randn(decoded.shape, generator=torch.Generator().manual_seed(3), dtype=decoded.dtype)
    of_vectors = torch.autograd.grad((weight * found.parameters).sum(), found.vectors[-1:], materialize_grads=True)
    (of_entries,) = torch.autograd.grad((weight * decoded).sum(), entries)
    summed = torch.zeros_like(of_entries).index_add(0, found.codes[-1].flatten(), of_vectors[0].flatten(0, -2))
    assert_near(summed, of_entries, tolerance, "the gradient of the vectors")
