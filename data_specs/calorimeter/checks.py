"""Reading a whole shower file against its spec."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from .geometry import Geometry
from .showers import ShowerReader, Showers
from .units import check_energies, check_ratio, check_threshold

Progress = Callable[[str, int, int], None]


def check_showers(
    path: str | Path, geometry: str | Geometry | None = None, progress: Progress = lambda *_: None
) -> Sequence[tuple[str, str]]:
    """Read every row of a file and return what it holds as rows (what, value with unit).

    Beyond what opening a file checks: NaN, negative numbers and damage in any row, energy ratios of every shower
    (mixed units), and deposits against the geometry's threshold.

    Raises:
        DataError: naming the first row (and voxel) that does not meet the spec.
    """
    with ShowerReader(path, geometry) as reader:
        tally = _Tally(reader.geometry, str(reader.path))
        for block in reader.blocks():
            tally.add(block)
            progress("checking showers", block.start + len(block.deposits), len(reader))
        return [*reader.summary(), *tally.rows()]


class _Tally:
    """What is learned of a file block by block."""

    def __init__(self, geometry: Geometry, where: str) -> None:
        self.geometry, self.where = geometry, where
        self.energies: list[np.ndarray] = []
        self.totals: list[np.ndarray] = []
        self.empty = np.zeros(len(geometry.active))
        self.deposits = self.below = 0
        self.smallest = self.largest = float("nan")

    def add(self, block: Showers) -> None:
        energies, totals = block.conditions["energy"], block.deposits.sum(axis=1, dtype=np.float64)
        check_ratio(energies, totals, self.where, block.start)
        self.energies.append(energies)
        self.totals.append(totals)
        hit = block.deposits > 0
        for place, layer in enumerate(self.geometry.active):
            self.empty[place] += (~hit[:, self.geometry.slices[layer]].any(axis=1)).sum()
        if len(found := block.deposits[hit]):
            self.deposits += len(found)
            self.below += int((found < self.geometry.threshold).sum())
            self.smallest = float(np.fmin(self.smallest, found.min()))
            self.largest = float(np.fmax(self.largest, found.max()))

    def rows(self) -> Sequence[tuple[str, str]]:
        energies, totals = np.concatenate(self.energies), np.concatenate(self.totals)
        below = self.below / max(self.deposits, 1)
        check_energies(energies, self.where)
        check_threshold(self.smallest, below, self.geometry.threshold, self.where)
        n, ratio = len(energies), totals / energies[:, 0]
        low, middle, high = np.quantile(ratio, [0.01, 0.5, 0.99])
        emptiest = int(self.empty.argmax())
        layer = self.geometry.layers[self.geometry.active[emptiest]].id
        spread = f"98 % within {low:.4g} .. {high:.4g}, at most {ratio.max():.4g}"
        rows = [
            ("median incident energy", f"{np.median(energies):.6g} MeV"),
            ("deposited over incident", f"median {middle:.4g}, {spread}"),
            ("deposits", f"{self.smallest:.4g} .. {self.largest:.4g} MeV, {self.deposits / n:.4g} voxels a shower"),
            ("emptiest layer", f"{layer}, empty in {100 * self.empty[emptiest] / n:.3g} % of showers"),
        ]
        if self.geometry.threshold:
            rows.append(
                ("under the threshold", f"{self.below:,} deposits ({100 * below:.3g} %), cut before showers are judged")
            )
        return rows
