"""The raster order: cell by cell along the rows of a grid, the channels of a cell in turn."""

from __future__ import annotations

import torch
from torch import Tensor

from ...spaces import Field, Space, size


def raster(space: Space) -> Tensor:
    """Places of the flattened sample in the order of drawing, (D,), int64; all but fields keep that of the row."""
    places = torch.arange(size(space))
    return places.reshape(space.channels, -1).T.flatten() if isinstance(space, Field) else places
