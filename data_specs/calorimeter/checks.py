"""Reading a whole shower file against its spec."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from .geometry import Geometry
from .showers import ShowerReader, Showers
from .units import Faintest, check_energies

Progress = Callable[[str, int, int], None]


def check_showers(
    path: str | Path, geometry: str | Geometry | None = None, progress: Progress = lambda *_: None
) -> Sequence[tuple[str, str]]:
    """Read every row of a file and return what it holds as rows (what, value with unit).

    What opening a file checks on a sample, and reading on what is read, is checked of all rows: NaN, negative numbers,
    damage, conditions and energy ratios of every shower, and all deposits against the geometry's threshold.

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
        self.faintest = Faintest(geometry.threshold)

    def add(self, block: Showers) -> None:
        self.energies.append(block.conditions["energy"])
        self.totals.append(block.deposits.sum(axis=1, dtype=np.float64))
        self.faintest.add(block.deposits)
        hit = block.deposits > 0
        for place, layer in enumerate(self.geometry.active):
            self.empty[place] += (~hit[:, self.geometry.slices[layer]].any(axis=1)).sum()

    def rows(self) -> Sequence[tuple[str, str]]:
        energies, totals = np.concatenate(self.energies), np.concatenate(self.totals)
        faintest = self.faintest
        below = faintest.below / max(faintest.deposits, 1)
        check_energies(energies, self.where)
        faintest.check(self.where)
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
                f"{faintest.smallest:.4g} .. {faintest.largest:.4g} MeV, {faintest.deposits / n:.4g} voxels a shower",
            ),
            ("emptiest layer", f"{layer}, empty in {100 * self.empty[emptiest] / n:.3g} % of showers"),
        ]
        if self.geometry.threshold:
            rows.append(
                (
                    "under the threshold",
                    f"{faintest.below:,} deposits ({100 * below:.3g} %), cut before showers are judged",
                )
            )
        return rows
