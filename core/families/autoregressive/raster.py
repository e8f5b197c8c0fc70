"""Raster order: pixel by pixel along the rows of a grid, the channels of a pixel in turn."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ...layout import parts
from ...spaces import Field, Space, size


def raster(space: Space) -> Tensor:
    """Indices of a flattened sample's features in raster order, (D,), int64; only those of fields are permuted.

    >>> raster(Field(channels=2, grid=(1, 3))).tolist()
    [0, 3, 1, 4, 2, 5]
    """
    features = torch.arange(size(space))
    return features.reshape(space.channels, -1).T.flatten() if isinstance(space, Field) else features


def positions(space: Space) -> Tensor:
    """Position of each feature of a flattened sample on the axes of its space, (D, A), int64.

    Parts of a product are numbered along a first axis, and have position zero on axes that they lack. Axes of length
    one are left out.

    >>> positions(Field(channels=1, grid=(2, 2))).tolist()
    [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    pieces = []
    for index, (_, part) in enumerate(parts(space)):
        position = torch.cartesian_prod(*map(torch.arange, part.shape)).reshape(size(part), -1)
        pieces.append(F.pad(position, (1, 0), value=index))
    axes = max(piece.shape[1] for piece in pieces)
    found = torch.cat([F.pad(piece, (0, axes - piece.shape[1])) for piece in pieces])
    return found[:, (found != found[:1]).any(0)]


def neighbours(space: Field) -> Tensor:
    """The features one pixel back along each axis, for each feature in raster order, (D, A), int64; D where none is.

    An axis is left out if the neighbour along it is the feature just before.

    >>> neighbours(Field(channels=1, grid=(3, 2))).T.tolist()  # the pixels above
    [[6, 6, 0, 1, 2, 3]]
    """
    features = size(space)
    pixels = torch.arange(features).reshape(*space.grid, space.channels)
    found = [pixels.new_zeros(features, 0)]
    for axis, length in enumerate(space.grid):
        if length > 1 and pixels.stride(axis) > 1:
            none = torch.full_like(pixels.narrow(axis, 0, 1), features)
            back = torch.cat((none, pixels.narrow(axis, 0, length - 1)), dim=axis)
            found.append(back.reshape(features, 1))
    return torch.cat(found, dim=1)
