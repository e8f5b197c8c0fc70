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
