"""The raster order: cell by cell along the rows of a grid, the channels of a cell in turn."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ...layout import parts
from ...spaces import Field, Space, size


def raster(space: Space) -> Tensor:
    """Places of the flattened sample in the order of drawing, (D,), int64; all but fields keep that of the row."""
    places = torch.arange(size(space))
    return places.reshape(space.channels, -1).T.flatten() if isinstance(space, Field) else places


def positions(space: Space) -> Tensor:
    """Where each number of a flattened sample is on the axes of its space, (D, A), int64.

    Parts of a product follow one another on a first axis, and lie at zero on axes that they lack.
    """
    pieces = []
    for number, (_, part) in enumerate(parts(space)):
        place = torch.cartesian_prod(*map(torch.arange, part.shape)).reshape(size(part), -1)
        pieces.append(F.pad(place, (1, 0), value=number))
    axes = max(piece.shape[1] for piece in pieces)
    found = torch.cat([F.pad(piece, (0, axes - piece.shape[1])) for piece in pieces])
    return found[:, (found != found[:1]).any(0)]  # an axis of length one tells nothing


def neighbours(space: Field) -> Tensor:
    """Which numbers lie one cell back along an axis, for each number in raster order, (D, A), int64; D stands for none.

    The axis along which the number before is that neighbour is left out.
    """
    numbers = size(space)
    cells = torch.arange(numbers).reshape(*space.grid, space.channels)
    found = [cells.new_zeros(numbers, 0)]
    for axis, length in enumerate(space.grid):
        if length > 1 and cells.stride(axis) > 1:
            none = torch.full_like(cells.narrow(axis, 0, 1), numbers)
            back = torch.cat((none, cells.narrow(axis, 0, length - 1)), dim=axis)
            found.append(back.reshape(numbers, 1))
    return torch.cat(found, dim=1)
