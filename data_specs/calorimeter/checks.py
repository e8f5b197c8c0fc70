"""Checks a whole shower file against its spec."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from .geometry import Geometry
from .showers import ShowerReader, Showers
from .units import ThresholdCheck, check_energies

Progress = Callable[[str, int, int], None]


def check_showers(
    path: str | Path, geometry: str | Geometry | None = None, progress: Progress = lambda *_: None
) -> Sequence[tuple[str, str]]:
    """Read every row of a file and return a summary as pairs (label, value with unit).

    Opening a file checks a sample of its rows; this checks all of them for NaN, negative values, damage, conditions and
    energy ratios, and compares all deposits with the geometry's threshold.

    Raises:
        DataError: naming the first row (and voxel) that does not meet the spec.

    >>> from maquette.domains.calorimeter.sample import sample_path
    >>> check_showers(sample_path())[1:3]
    [('showers', '5,500'), ('geometry', "calogan (from the file's attribute)")]
    """
    with ShowerReader(path, geometry) as reader:
        summary = _Summary(reader.geometry, str(reader.path))
        for block in reader.blocks():
            summary.add(block)
            progress("checking showers", block.start + len(block.deposits), len(reader))
        return [*reader.summary(), *summary.rows()]


class _Summary:
    """Totals of a file, block by block."""

    def __init__(self, geometry: Geometry, where: str) -> None:
        self.geometry, self.where = geometry, where
        self.energies: list[np.ndarray] = []
        self.totals: list[np.ndarray] = []
        self.empty = np.zeros(len(geometry.active))
        self.threshold = ThresholdCheck(geometry.threshold)

    def add(self, block: Showers) -> None:
        self.energies.append(block.conditions["energy"])
        self.totals.append(block.deposits.sum(axis=1, dtype=np.float64))
        self.threshold.add(block.deposits)
        hit = block.deposits > 0
        for position, layer in enumerate(self.geometry.active):
            self.empty[position] += (~hit[:, self.geometry.slices[layer]].any(axis=1)).sum()

    def rows(self) -> Sequence[tuple[str, str]]:
        energies, totals = np.concatenate(self.energies), np.concatenate(self.totals)
        deposits = self.threshold
        below = deposits.below / max(deposits.deposits, 1)
        check_energies(energies, self.where)
        deposits.check(self.where)
        n, ratio = len(energies), totals / energies[:, 0]
        low, middle, high = np.quantile(ratio, [0.01, 0.5, 0.99])
        emptiest = int(self.empty.argmax())
        layer = self.geometry.layers[self.geometry.active[emptiest]].id
        spread = f"98 % within {low:.4g} .. {high:.4g}, at most {ratio.max():.4g}"
        rows = [
            ("median incident energy", f"{np.median(energies):.6g} MeV"),
            ("deposited over incident", f"median {middle:.4g}, {spread}"),
            (
                "deposits",
                f"{deposits.smallest:.4g} .. {deposits.largest:.4g} MeV, {deposits.deposits / n:.4g} voxels a shower",
            ),
            ("emptiest layer", f"{layer}, empty in {100 * self.empty[emptiest] / n:.3g} % of showers"),
        ]
        if self.geometry.threshold:
            rows.append(
                (
                    "under the threshold",
                    f"{deposits.below:,} deposits ({100 * below:.3g} %), cut before training and validation",
                )
            )
        return rows
