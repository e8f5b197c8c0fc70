"""Voxel geometry of a calorimeter: layers of cells, seen along the incident particle.

A shower is a vector of `n_voxels` deposits; the layers follow one another, and within a layer the second axis
of `Layer.grid` runs fastest. Lengths in mm, energies in MeV.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MIN_DEPOSIT = 1e-5
"""MeV (10 eV): about the energy to ionise an atom. No detector measures less, though a simulation may write less."""


@dataclass(frozen=True)
class PolarLayer:
    """Rings and sectors around the axis; grid (n_alpha, n_r). `r_edges == (0,)` is a layer without cells.

    >>> layer = PolarLayer(id=0, r_edges=(0.0, 10.0, 20.0), n_alpha=4)
    >>> layer.grid, layer.n_voxels, layer.radii[:2].tolist()
    ((4, 2), 8, [5.0, 15.0])
    """

    id: int
    r_edges: tuple[float, ...]
    n_alpha: int

    @property
    def grid(self) -> tuple[int, int]:
        return (self.n_alpha, len(self.r_edges) - 1)

    @property
    def periodic(self) -> tuple[bool, bool]:
        return (True, False)

    @property
    def n_voxels(self) -> int:
        return self.n_alpha * (len(self.r_edges) - 1)

    @cached_property
    def centers(self) -> tuple[Floats, Floats]:
        """(x, y) of each voxel, mm: radius of the ring's middle, angle of the sector's middle.

        A layer with one sector has no angle: its cells are at angle 0, as in the CaloChallenge.
        """
        r = self.radii
        alpha = (np.arange(self.n_alpha) + 0.5) * 2 * np.pi / self.n_alpha if self.n_alpha > 1 else np.zeros(1)
        angle = np.repeat(alpha, len(self.r_edges) - 1)
        return r * np.cos(angle), r * np.sin(angle)

    @cached_property
    def radii(self) -> Floats:
        """Distance of each voxel's middle from the axis, mm."""
        edges = np.asarray(self.r_edges)
        return np.tile((edges[1:] + edges[:-1]) / 2, self.n_alpha)


@dataclass(frozen=True)
class CartesianLayer:
    """Rectangular cells; grid (n_x, n_y).

    >>> layer = CartesianLayer(id=0, x_edges=(-10.0, 0.0, 10.0), y_edges=(-5.0, 5.0))
    >>> layer.grid, layer.centers[0].tolist()
    ((2, 1), [-5.0, 5.0])
    """

    id: int
    x_edges: tuple[float, ...]
    y_edges: tuple[float, ...]

    @property
    def grid(self) -> tuple[int, int]:
        return (len(self.x_edges) - 1, len(self.y_edges) - 1)

    @property
    def periodic(self) -> tuple[bool, bool]:
        return (False, False)

    @property
    def n_voxels(self) -> int:
        return self.grid[0] * self.grid[1]

    @cached_property
    def centers(self) -> tuple[Floats, Floats]:
        """(x, y) of each voxel, mm."""
        x, y = np.asarray(self.x_edges), np.asarray(self.y_edges)
        grid = np.meshgrid((x[1:] + x[:-1]) / 2, (y[1:] + y[:-1]) / 2, indexing="ij")
        return grid[0].ravel(), grid[1].ravel()

    @cached_property
    def radii(self) -> Floats:
        """Distance of each voxel's middle from the axis, mm."""
        return np.hypot(*self.centers)


Layer = PolarLayer | CartesianLayer


@dataclass(frozen=True)
class Medium:
    """Effective medium of the stack, for lengths in radiation lengths and Moliere radii.

    >>> medium = Medium(radiation_length=8.9, moliere_radius=28.0, layer_depth=3.4)
    >>> Geometry("one", (PolarLayer(0, (0.0, 10.0), 1),), medium=medium).depth_edges
    array([0. , 3.4])
    """

    radiation_length: float  # mm
    moliere_radius: float  # mm
    layer_depth: float | None = None  # mm per layer where all are equal


@dataclass(frozen=True)
class Geometry:
    """A named set of layers.

    Attributes:
        name: one of the known names, or the stem of the XML file it was read from.
        layers: in order of depth.
        threshold: readout threshold, MeV; 0 if none is known.
        pid: PDG number of the particle the file was made for, 0 if unknown.
        medium: the stack's effective medium where it is known.
        z_edges: depths of the layers' boundaries, mm, if known; not needed where all layers have the depth
            `medium.layer_depth`.

    >>> from maquette.data_specs.calorimeter.geometries import known_geometry
    >>> geometry = known_geometry("ds2")
    >>> geometry
    Geometry(ds2, layers=45, voxels=6480, threshold=0.01515 MeV)
    >>> geometry.slices[1], geometry.layers[0].grid
    (slice(144, 288, None), (16, 9))
    """

    name: str
    layers: tuple[Layer, ...]
    threshold: float = 0.0
    pid: int = 0
    medium: Medium | None = None
    z_edges: tuple[float, ...] | None = None

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.name}, layers={len(self.layers)}, voxels={self.n_voxels}, "
            f"threshold={self.threshold:g} MeV)"
        )

    @property
    def effective_threshold(self) -> float:
        """MeV: `threshold`, or `MIN_DEPOSIT` without one. Smaller deposits are set to zero on reading for a fit."""
        return max(self.threshold, MIN_DEPOSIT)

    @cached_property
    def depth_edges(self) -> Floats | None:
        """Depths of the layers' boundaries, shape (n_layers + 1,), mm; None where they are not known."""
        if self.z_edges is not None:
            return np.asarray(self.z_edges)
        if self.medium is None or self.medium.layer_depth is None:
            return None
        return np.arange(len(self.layers) + 1, dtype=np.float64) * self.medium.layer_depth

    @cached_property
    def n_voxels(self) -> int:
        return sum(layer.n_voxels for layer in self.layers)

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """The voxels of each layer in a shower."""
        ends = np.cumsum([layer.n_voxels for layer in self.layers])
        return tuple(slice(int(end) - layer.n_voxels, int(end)) for end, layer in zip(ends, self.layers, strict=True))

    @cached_property
    def active(self) -> tuple[int, ...]:
        """Indices of the layers that have cells."""
        return tuple(i for i, layer in enumerate(self.layers) if layer.n_voxels)


def describe_geometry(geometry: Geometry, how: str = "") -> Sequence[tuple[str, str]]:
    """Pairs (label, value with unit) to print; `how` says how the geometry was found.

    >>> from maquette.data_specs.calorimeter.geometries import known_geometry
    >>> describe_geometry(known_geometry("ds2"))[1:]
    [('voxels', '6,480 in 45 layers'), ('readout threshold', '15.15 keV')]
    """
    none = f"none; deposits under {1e6 * MIN_DEPOSIT:g} eV, which cannot ionise, are cut (an XML may give one)"
    return [
        ("geometry", f"{geometry.name} ({how})" if how else geometry.name),
        ("voxels", f"{geometry.n_voxels:,} in {len(geometry.active)} layers"),
        ("readout threshold", f"{1000 * geometry.threshold:g} keV" if geometry.threshold else none),
    ]
