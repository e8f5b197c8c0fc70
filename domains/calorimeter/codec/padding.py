"""Voxels of a shower as a table of layers: (B, voxels) to (B, L, N) with N the cells of the largest layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ....core.spaces import Field
from ....data_specs.calorimeter.geometry import Geometry


class Padding(nn.Module):
    """Pads the layers of a geometry to one size; layers without cells are left out.

    Attributes:
        layers: L, the number of layers with cells.
        max_cells: N, the number of cells of the largest.
        sizes: cells of each layer, (L,).
        mask: which entries of the table are cells, (L, N).
        layer: the layer of each voxel, (V,).

    >>> from maquette.data_specs.calorimeter.geometries import known_geometry
    >>> padding = Padding(known_geometry("calogan"))
    >>> padding, padding.sizes.tolist()
    (Padding(layers=3, max_cells=288), [288, 144, 72])
    >>> table = padding.split(torch.ones(2, 504))
    >>> table.shape, padding.join(table).shape
    (torch.Size([2, 3, 288]), torch.Size([2, 504]))
    """

    sizes: Tensor
    mask: Tensor
    layer: Tensor
    gather: Tensor  # (L * N,): position in a shower, or one past its end
    scatter: Tensor  # (voxels,): position in the flattened table

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        layers = [geometry.layers[i] for i in geometry.active]
        self.layers, self.max_cells = len(layers), max(layer.n_voxels for layer in layers)
        sizes = torch.tensor([layer.n_voxels for layer in layers])
        mask = torch.arange(self.max_cells) < sizes[:, None]
        gather = torch.full((self.layers, self.max_cells), geometry.n_voxels)
        gather[mask] = torch.arange(geometry.n_voxels)
        layer, _ = mask.nonzero(as_tuple=True)
        scatter = mask.flatten().nonzero()[:, 0]
        tables = {"sizes": sizes, "mask": mask, "layer": layer, "gather": gather.flatten(), "scatter": scatter}
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)
        self.grids = [layer.grid for layer in layers]
        self.periods = [layer.periodic for layer in layers]
        self.names = [f"layer_{layer.id}" for layer in layers]
        self.stacked = len(set(self.grids)) == len(set(self.periods)) == 1

    def extra_repr(self) -> str:
        return f"layers={self.layers}, max_cells={self.max_cells}"

    def split(self, x: Tensor) -> Tensor:
        """(B, voxels) to (B, L, N), zero in the padding."""
        return F.pad(x, (0, 1)).index_select(1, self.gather).unflatten(1, (self.layers, self.max_cells))

    def join(self, table: Tensor) -> Tensor:
        """Inverse of `split`."""
        return table.flatten(1).index_select(1, self.scatter)

    def fields(self) -> dict[str, Field]:
        """The spaces of the voxels: one deep field if all layers have one grid, else a field per layer."""
        if self.stacked:
            grid = (self.layers, *self.grids[0])
            return {"voxels": Field(channels=1, grid=grid, periodic=(False, *self.periods[0]))}
        named = zip(self.names, self.grids, self.periods, strict=True)
        return {name: Field(channels=1, grid=grid, periodic=periodic) for name, grid, periodic in named}

    def to_fields(self, x: Tensor) -> dict[str, Tensor]:
        """(B, voxels) to values of `fields()`."""
        fields = self.fields()
        pieces = x.split([math.prod(field.grid) for field in fields.values()], dim=1)
        return {
            name: piece.unflatten(1, (1, *field.grid))
            for (name, field), piece in zip(fields.items(), pieces, strict=True)
        }

    def from_fields(self, value: dict[str, Tensor]) -> Tensor:
        """Inverse of `to_fields`; other parts of the value are ignored."""
        return torch.cat([value[name].flatten(1) for name in self.fields()], dim=1)
