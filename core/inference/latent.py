"""Paths and planes in the space of a model's codes: between two samples, along one dimension, over two dimensions."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from ..capabilities import Encodes
from ..samplers.interpolation import Interpolation, slerp
from ..spaces import Tree


class CodeDistribution(Protocol):
    """The distribution of a model's codes, as far as this module needs it: the model's `base`, else `NormalCodes`."""

    def interpolate(self, a: Tensor, b: Tensor, times: Tensor, context: Any = None) -> Tensor:
        """Codes (T, B, L) on a path from a (B, L) to b (B, L) at times (T,) from 0 to 1, given B contexts."""
        ...

    def icdf(self, probabilities: Tensor, dim: int = 0, context: Any = None) -> Tensor:
        """Quantiles (T,) of dimension `dim` of a code at probabilities (T,), given one context."""
        ...


class NormalCodes:
    """Independent standard normals.

    >>> NormalCodes().icdf(torch.tensor([0.025, 0.5, 0.975]))
    tensor([-1.9600,  0.0000,  1.9600])
    """

    def interpolate(self, a: Tensor, b: Tensor, times: Tensor, context: Any = None) -> Tensor:
        """Along the great circle."""
        return slerp(a, b, times)

    def icdf(self, probabilities: Tensor, dim: int = 0, context: Any = None) -> Tensor:
        return torch.special.ndtri(probabilities)


def _codes(model: Any, condition: Tree | None, like: Tensor) -> tuple[CodeDistribution, Any]:
    """The distribution of a model's codes, and the features of the condition that it wants."""
    if not hasattr(model, "base"):
        return NormalCodes(), None
    return model.base, model.layout.context(condition, like).vector


def interpolate(
    model: Encodes,
    first: Tree,
    second: Tree,
    condition: Tree | None = None,
    *,
    steps: int = 9,
    path: Interpolation | None = None,
) -> list[Tree]:
    """Samples between `first` and `second`, decoded from a path between their codes.

    Args:
        model: one that encodes and decodes; its codes are real, (B, L).
        first, second: samples, leading axis B.
        condition: one row per pair, for all samples between them.
        steps: number of samples on the path, both ends included.
        path: between the codes. By default it follows from their distribution: spherical for normal codes, linear for
            uniform ones, the shorter arc for angles.

    Returns:
        The samples at each step; the first and the last are the reconstructions of the two given.

    >>> from maquette.core.families.vae.vae import VAEConfig
    >>> from maquette.core.spaces import Vector
    >>> model = VAEConfig.example().build(Vector(dim=3))
    >>> [x.shape for x in interpolate(model, torch.zeros(5, 3), torch.ones(5, 3), steps=3)]
    [torch.Size([5, 3]), torch.Size([5, 3]), torch.Size([5, 3])]
    """
    a, b = model.encode(first, condition), model.encode(second, condition)
    times = torch.linspace(0, 1, steps, dtype=a.dtype, device=a.device)
    if path is None:
        distribution, context = _codes(model, condition, a)
        path = partial(distribution.interpolate, context=context)
    return [model.decode(z, condition) for z in path(a, b, times)]


def traverse(model: Encodes, z: Tensor, dim: int, values: Tensor, condition: Tree | None = None) -> list[Tree]:
    """Samples decoded from codes z (B, L) of which one dimension takes each of `values` (T,) in turn.

    >>> from maquette.core.families.vae.vae import VAEConfig
    >>> from maquette.core.spaces import Vector
    >>> model = VAEConfig(latent=2).build(Vector(dim=3))
    >>> len(traverse(model, torch.zeros(5, 2), dim=1, values=torch.linspace(-2, 2, 7)))
    7
    """
    found = []
    for value in values:
        moved = z.clone()
        moved[:, dim] = value
        found.append(model.decode(moved, condition))
    return found


def plane(model: Encodes, z: Tensor, dims: tuple[int, int], side: int, condition: Tree | None = None) -> Tensor:
    """Codes on a plane, at evenly spaced quantiles of their distribution, (side, side, L).

    As in Kingma & Welling, arXiv:1312.6114, figure 4: decode them for a picture of what the model has learnt.

    Args:
        model: whose codes they are.
        z: a code (L,); the others differ from it in two dimensions.
        dims: which two, the first along the first axis.
        side: steps along each.
        condition: one row, for all codes.

    >>> from maquette.core.families.vae.vae import VAEConfig
    >>> from maquette.core.spaces import Vector
    >>> plane(VAEConfig(latent=3).build(Vector(dim=4)), torch.zeros(3), dims=(0, 2), side=5).shape
    torch.Size([5, 5, 3])
    """
    probabilities = (torch.arange(side, dtype=z.dtype, device=z.device) + 0.5) / side
    distribution, context = _codes(model, condition, z[None])
    first, second = (distribution.icdf(probabilities, dim, context) for dim in dims)
    codes = z.expand(side, side, -1).clone()
    codes[..., dims[0]], codes[..., dims[1]] = first[:, None], second
    return codes
