"""High-level features of showers, as in the CaloChallenge (arXiv:2410.21611, section 4), read in blocks.

Centroids are energy-weighted means over the cells of a layer, <x> with x = r cos(alpha) ("eta"), y = r sin(alpha)
("phi") and r; widths are sqrt(<x^2> - <x>^2). A layer without energy has centroid and width 0, as in the challenge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from ....core.data import Source
from ....core.engine.world import ALONE, World
from ....core.memory import BLOCK_BYTES, samples_within
from ....core.statistics.histogram import Binning
from ....data_specs.calorimeter.geometry import CartesianLayer, Geometry, PolarLayer
from ..batches import deposits, incident_energy

Array = NDArray[np.float32]
LARGEST_BLOCK = 1024
"""Most showers in memory at once."""
LINES = {"line_511": 0.510999, "line_88": 0.088005}
"""MeV: annihilation at rest, and K-shell binding energy of lead, each deposited in one piece by an idealised engine."""
ROUNDING = 1e-12
"""Variances below this fraction of the mean square are rounding errors of zero: all energy is in one cell."""
BINNING_SHOWERS, RUNS = 4096, 64
"""Showers from which the bins of the voxel spectrum are set; runs of consecutive rows in `evenly_spaced`."""
LINE_WIDTH = 1e-6
"""MeV: largest distance from a line at which a deposit counts as on it; float32 resolves 6e-8 there."""


def block_size(voxels: int) -> int:
    """Showers of so many voxels in memory at once.

    >>> [block_size(voxels) for voxels in (368, 6480, 40_500)]
    [1024, 1024, 128]
    """
    return samples_within(BLOCK_BYTES, 4 * voxels, most=LARGEST_BLOCK)


def evenly_spaced(total: int, n: int) -> NDArray[np.int64]:
    """Up to n of the row numbers 0 .. total - 1, ascending: runs of consecutive rows at equal distances.

    Files may be sorted (by energy, say), so a selection must cover the whole file; runs are read faster than single
    rows.

    >>> evenly_spaced(5, 10).tolist(), evenly_spaced(1000, 4).tolist()
    ([0, 1, 2, 3, 4], [0, 333, 666, 999])
    """
    if n >= total:
        return np.arange(total)
    runs = min(n, RUNS)
    left_out = np.linspace(0, total - n, runs).astype(np.int64)  # before each run
    return np.arange(n) + np.repeat(left_out, [len(run) for run in np.array_split(np.arange(n), runs)])


def read(source: Source, rows: NDArray[np.int64], threshold: float) -> tuple[Array, Array]:
    """Fetch showers (n, V) and incident energies (n,), MeV, in the order of `rows`; deposits under threshold cut."""
    order = np.argsort(rows, kind="stable")  # files are fastest read forwards
    batch = source.fetch(torch.from_numpy(rows[order]))
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    showers = deposits(batch.x).numpy().astype(np.float32, copy=False)[back]
    showers = np.where(showers < threshold, np.float32(0), showers)
    return showers, incident_energy(batch.condition).numpy().reshape(-1)[back]


@dataclass(frozen=True)
class Features:
    """Features of n showers; L counts the layers that have cells.

    Attributes:
        incident: incident energy, MeV, (n,).
        layer: energy in each layer, MeV, (n, L).
        eta, phi, r: centroid in each layer, mm, (n, L); eta and phi are 0 in layers without angular cells.
        width_eta, width_phi, width_r: widths, mm, (n, L).
        occupancy: fraction of a layer's voxels with energy, (n, L).
        radial: energy in each ring of `Extractor.rings`, MeV, (n, R).
        spectrum: number of voxels in each bin of log10(deposit / MeV), (n, bins + 2).
        lines: number of voxels on each of `LINES`, (n, 2).
    """

    incident: Array
    layer: Array
    eta: Array
    phi: Array
    r: Array
    width_eta: Array
    width_phi: Array
    width_r: Array
    occupancy: Array
    radial: Array
    spectrum: NDArray[np.uint32]
    lines: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.incident)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(showers={len(self)}, layers={self.layer.shape[1]})"

    @property
    def total(self) -> NDArray[np.float64]:
        """Energy in all layers, MeV, (n,)."""
        return self.layer.sum(1, dtype=np.float64)

    @property
    def response(self) -> NDArray[np.float64]:
        """Total energy over incident energy, (n,)."""
        return self.total / self.incident

    @property
    def sparsity(self) -> Array:
        """Fraction of a layer's voxels without energy, (n, L)."""
        return 1 - self.occupancy


@dataclass(frozen=True)
class Extractor:
    """Computes features block by block.

    Attributes:
        geometry: of the showers.
        spectrum: bins of log10(deposit / MeV).

    >>> from maquette.domains.calorimeter.dataset import ShowerDataset
    >>> from maquette.domains.calorimeter.sample import sample_path
    >>> data = ShowerDataset(sample_path()).rows(0, 100)
    >>> extractor = Extractor.fit(data.geometry, data)
    >>> features, mean_shower = extractor.stream(data, 100)
    >>> features
    Features(showers=100, layers=3)
    >>> features.layer.shape, mean_shower.shape
    ((100, 3), (504,))
    >>> high_level(features, extractor.angular).shape, physics_features(features, extractor.angular).shape
    ((100, 19), (100, 24))
    """

    geometry: Geometry
    spectrum: Binning

    @classmethod
    def fit(cls, geometry: Geometry, reference: Source) -> Extractor:
        """Set the bins of the voxel spectrum from (up to 4,096 evenly spaced showers of) the reference."""
        showers, _ = read(reference, evenly_spaced(len(reference), BINNING_SHOWERS), geometry.effective_threshold)
        deposits = np.log10(showers[showers > 0].astype(np.float64))
        return cls(geometry, Binning.of(deposits[:, None] if len(deposits) else np.zeros((1, 1))))

    @cached_property
    def angular(self) -> tuple[int, ...]:
        """Indices, among the layers that have cells, of those with more than one direction, so with eta and phi."""
        layers = [self.geometry.layers[i] for i in self.geometry.active]
        return tuple(k for k, layer in enumerate(layers) if not isinstance(layer, PolarLayer) or layer.n_alpha > 1)

    @cached_property
    def rings(self) -> NDArray[np.float64]:
        """Edges of the rings of the radial profile, mm: those of the finest layer, or multiples of a cell's size."""
        layers = [self.geometry.layers[i] for i in self.geometry.active]
        polar = [layer for layer in layers if isinstance(layer, PolarLayer)]
        if polar:
            return np.asarray(max(polar, key=lambda layer: len(layer.r_edges)).r_edges, dtype=np.float64)
        cartesian = [layer for layer in layers if isinstance(layer, CartesianLayer)]
        step = max(min(np.diff(layer.x_edges).min(), np.diff(layer.y_edges).min()) for layer in cartesian)
        largest = max(layer.radii.max() for layer in cartesian)
        return np.arange(int(largest / step) + 2) * step

    @cached_property
    def _moments(self) -> list[NDArray[np.float64]]:
        """Per layer (cells, 7): the factors 1, x, x^2, y, y^2, r, r^2 of a deposit."""
        tables = []
        for k, i in enumerate(self.geometry.active):
            layer = self.geometry.layers[i]
            x, y = layer.centers if k in self.angular else (np.zeros(layer.n_voxels), np.zeros(layer.n_voxels))
            tables.append(np.stack([np.ones_like(x), x, x**2, y, y**2, layer.radii, layer.radii**2], axis=1))
        return tables

    @cached_property
    def _ring_of(self) -> NDArray[np.int64]:
        radii = np.concatenate([self.geometry.layers[i].radii for i in self.geometry.active])
        return np.clip(np.searchsorted(self.rings, radii, side="right") - 1, 0, len(self.rings) - 2)

    def __call__(self, showers: NDArray, incident: NDArray) -> Features:
        """Features of showers (n, V) with incident energies (n,), both MeV; cut to the threshold beforehand."""
        x = np.asarray(showers, dtype=np.float64)
        slices = [self.geometry.slices[i] for i in self.geometry.active]
        sums = np.stack([x[:, part] @ table for part, table in zip(slices, self._moments, strict=True)], axis=1)
        energy = sums[..., 0]
        means = np.divide(sums, energy[..., None], out=np.zeros_like(sums), where=energy[..., None] > 0)
        variances = [(means[..., 2 * k] - means[..., 2 * k - 1] ** 2, means[..., 2 * k]) for k in (1, 2, 3)]
        widths = [np.sqrt(np.where(v > ROUNDING * square, v, 0.0)) for v, square in variances]
        rows, columns = np.nonzero(x)
        hits = x[rows, columns]
        bins = self.spectrum.bins + 2
        bin_of = self.spectrum.index(np.log10(hits)[:, None])[:, 0]
        spectrum = np.bincount(rows * bins + bin_of, minlength=len(x) * bins).reshape(len(x), bins)
        on = [np.bincount(rows[np.abs(hits - line) < LINE_WIDTH], minlength=len(x)) for line in LINES.values()]
        rings = len(self.rings) - 1
        radial = np.bincount(rows * rings + self._ring_of[columns], weights=hits, minlength=len(x) * rings)
        small = np.float32
        return Features(
            incident=np.asarray(incident, dtype=small).reshape(-1),
            layer=energy.astype(small),
            eta=means[..., 1].astype(small),
            phi=means[..., 3].astype(small),
            r=means[..., 5].astype(small),
            width_eta=widths[0].astype(small),
            width_phi=widths[1].astype(small),
            width_r=widths[2].astype(small),
            occupancy=np.stack([(x[:, part] > 0).mean(1) for part in slices], axis=1).astype(small),
            radial=radial.reshape(len(x), rings).astype(small),
            spectrum=spectrum.astype(np.uint32),
            lines=np.stack(on, axis=1).astype(np.uint32),
        )

    def depth_and_radius(self, shower: NDArray) -> NDArray[np.float64]:
        """Energy of one shower (V,) in each layer and ring, (L, R), MeV."""
        rings, active = len(self.rings) - 1, self.geometry.active
        layer_of = np.repeat(np.arange(len(active)), [self.geometry.layers[i].n_voxels for i in active])
        flat = np.bincount(layer_of * rings + self._ring_of, weights=shower, minlength=len(active) * rings)
        return flat.reshape(len(active), rings).astype(np.float64)

    def stream(
        self,
        source: Source,
        n: int,
        progress: Callable[[int, int], None] = lambda done, total: None,
        world: World = ALONE,
    ) -> tuple[Features, NDArray[np.float64]]:
        """Features of the first n showers of a source, and their mean shower (V,), MeV; one block in memory.

        Processes divide the blocks, and each gets all features.
        """
        own, block = [], block_size(self.geometry.n_voxels)
        for start in range(world.rank * block, n, world.size * block):
            stop = min(start + block, n)
            showers, incident = read(source, np.arange(start, stop), self.geometry.effective_threshold)
            own.append((self(showers, incident), showers.sum(0, dtype=np.float64)))
            progress(min(stop + (world.size - 1) * block, n), n)
        by_rank = world.gather(own)
        # block k was computed by rank k modulo the number of ranks
        found = [blocks[k] for k in range(len(by_rank[0])) for blocks in by_rank if k < len(blocks)]
        blocks, whole = [block for block, _ in found], np.sum([total for _, total in found], axis=0)
        columns = {f.name: np.concatenate([getattr(block, f.name) for block in blocks]) for f in fields(Features)}
        return Features(**columns), whole / n


def low_level(showers: NDArray, incident: NDArray) -> Array:
    """Classifier inputs of the CaloChallenge, (n, V + 1): log10(E / MeV) and the voxels in percent of E.

    >>> low_level(np.array([[10.0, 90.0]]), np.array([1000.0])).tolist()
    [[3.0, 1.0, 9.0]]
    """
    energy = np.asarray(incident).reshape(-1, 1)
    return np.concatenate([np.log10(energy), 100 * np.asarray(showers) / energy], axis=1).astype(np.float32)


def high_level(features: Features, angular: tuple[int, ...]) -> Array:
    """Classifier inputs as in the CaloChallenge, (n, F), and the occupancies.

    log10(E / MeV), log10(layer energy / MeV + 1e-8), centroids and widths in eta and phi of the layers with
    angular cells in units of 100 mm, occupancies.
    """
    lengths = (features.eta, features.phi, features.width_eta, features.width_phi)
    columns = [
        np.log10(features.incident)[:, None],
        np.log10(features.layer + 1e-8),
        *(length[:, list(angular)] / 100 for length in lengths),
        features.occupancy,
    ]
    return np.concatenate(columns, axis=1).astype(np.float32)


def physics_features(features: Features, angular: tuple[int, ...]) -> Array:
    """Features of the Frechet and kernel distances, (n, F): layer energies over E, centroids, widths, occupancies."""
    lengths = (features.eta, features.phi, features.width_eta, features.width_phi)
    columns = [
        features.layer / features.incident[:, None],
        *(length[:, list(angular)] for length in lengths),
        features.r,
        features.width_r,
        features.occupancy,
    ]
    return np.concatenate(columns, axis=1).astype(np.float32)
