"""Walks through the latent codes of a model: between two samples, along one dimension, over a plane."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from ..capabilities import Encodes
from ..samplers.interpolation import Interpolation, slerp
from ..spaces import Tree


class CodeDistribution(Protocol):
    """What walks need of the distribution of codes; a model whose codes are not standard normal has it as `base`."""

    def interpolate(self, a: Tensor, b: Tensor, times: Tensor) -> Tensor:
        """A path."""
        ...

    def icdf(self, probabilities: Tensor) -> Tensor:
        """Quantiles of one feature of a code."""
        ...


class NormalCodes:
    """Independent standard normals."""

    interpolate, icdf = staticmethod(slerp), staticmethod(torch.special.ndtri)


def _codes(model: Any) -> CodeDistribution:
    return getattr(model, "base", NormalCodes())


def interpolate(
    model: Encodes,
    first: Tree,
    second: Tree,
    condition: Tree | None = None,
    *,
    steps: int = 9,
    path: Interpolation | None = None,
) -> list[Tree]:
    """Samples from `first` to `second` by way of their codes.

    Args:
        model: one that encodes and decodes; its codes are real, (B, L).
        first, second: samples, leading axis B.
        condition: one row per pair, for both ends and all between.
        steps: number of samples on the way, both ends included.
        path: between codes. By default that of their distribution: spherical for normal codes, linear for uniform ones,
            the shorter arc for angles.

    Returns:
        The samples at each step; the first and the last are the reconstructions of the two given.

    >>> from maquette.core.families.vae.vae import VAEConfig
    >>> from maquette.core.spaces import Vector
    >>> model = VAEConfig.example().build(Vector(dim=3))
    >>> len(interpolate(model, torch.zeros(5, 3), torch.ones(5, 3), steps=4))
    4
    """
    a, b = model.encode(first, condition), model.encode(second, condition)
    times = torch.linspace(0, 1, steps, dtype=a.dtype, device=a.device)
    return [model.decode(z, condition) for z in (path or _codes(model).interpolate)(a, b, times)]


def traverse(model: Encodes, z: Tensor, dim: int, values: Tensor, condition: Tree | None = None) -> list[Tree]:
    """Samples along one dimension of the codes z (B, L), which takes each of `values` (T,) in turn.

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


def plane(model: Encodes, z: Tensor, dims: tuple[int, int], side: int) -> Tensor:
    """Codes over a plane, at evenly spaced quantiles of their distribution, (side, side, L).

    As in Kingma & Welling, arXiv:1312.6114, figure 4: decode them for a picture of what the model has learnt.

    Args:
        model: whose codes they are.
        z: a code (L,); the others differ from it in two dimensions.
        dims: which two, the first along the first axis.
        side: steps along each.

    >>> from maquette.core.families.vae.vae import VAEConfig
    >>> from maquette.core.spaces import Vector
    >>> plane(VAEConfig(latent=3).build(Vector(dim=4)), torch.zeros(3), dims=(0, 2), side=5).shape
    torch.Size([5, 5, 3])
    """
    probabilities = (torch.arange(side, dtype=z.dtype, device=z.device) + 0.5) / side
    quantiles = _codes(model).icdf(probabilities)
    codes = z.expand(side, side, -1).clone()
    codes[..., dims[0]], codes[..., dims[1]] = quantiles[:, None], quantiles
    return codes
