"""Are these numbers MeV? What is caught without reading a whole file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

LOWEST_MEDIAN = 100.0
"""MeV; showers of less than this are no business of a sampling calorimeter, but 1 .. 100 GeV are."""
RATIO_RANGE = (3e-3, 30.0)
"""Deposited over incident energy: a sampling fraction is at least a per cent; a unit is a factor of 1,000."""
UNIT = 1000.0
FEWEST = 64
"""Showers with energy from which on a block says something of all."""
_SLACK = 1.5  # how much wider than the central 90 % the ratios of one unit may spread


def check_energies(energies: NDArray[np.floating], where: str) -> None:
    """Raise `DataError` if incident energies, shape (n, 1), look like GeV."""
    median = float(np.median(energies))
    if median < LOWEST_MEDIAN:
        raise DataError(
            f"{where}: the median incident energy is {median:.4g}; energies are expected in MeV, "
            "and these look like GeV. Multiply energies and deposits by 1000."
        )


def check_rows(energies: NDArray[np.floating], totals: NDArray[np.floating], where: str, first_row: int = 0) -> None:
    """Raise `DataError` if any shower holds a unit more than its incident energy; shapes (n, 1) and (n,)."""
    ratio = totals / energies[:, 0]
    if len(ratio) and ratio.max() > RATIO_RANGE[1]:
        row = int(ratio.argmax())
        raise DataError(
            f"{where}: row {first_row + row} holds {ratio[row]:.4g} times its incident energy of "
            f"{energies[row, 0]:.4g}; units are mixed (GeV beside MeV, or keV). Both are expected in MeV."
        )


def check_together(energies: NDArray[np.floating], totals: NDArray[np.floating], where: str, rows: str) -> None:
    """Raise `DataError` if deposits lie a unit below incident energies, in most showers or in a part of them.

    Single showers may hold next to nothing, so only many together say something. Empty ones say nothing.

    Args:
        energies: incident, (n, 1).
        totals: deposited, (n,).
        where: the file, for messages.
        rows: which showers these are, for messages.
    """
    ratio = totals / energies[:, 0]
    ratio = ratio[ratio > 0]
    if not len(ratio):
        return
    if (median := float(np.median(ratio))) < RATIO_RANGE[0]:
        raise DataError(
            f"{where}: the showers hold {median:.2g} of the incident energy (median of {rows}); "
            "the deposits look like GeV beside incident energies in MeV. Both are expected in MeV."
        )
    low, high = np.quantile(ratio[ratio > median / 30], [0.05, 0.95]) * (1 / _SLACK, _SLACK)
    faint = int(((ratio > low / UNIT) & (ratio < high / UNIT)).sum())
    between = int(((ratio >= high / UNIT) & (ratio <= low / 2)).sum())
    # a second heap a thousand times below the first, and nothing on the way: no tail of poor showers looks like that
    if faint >= max(5, 0.02 * len(ratio)) and 10 * between <= faint and high / UNIT < low / 10:
        raise DataError(
            f"{where}: {faint} of {len(ratio)} showers ({rows}) hold a thousandth of what the others hold of their "
            "incident energy; units are mixed (GeV beside MeV). Both are expected in MeV."
        )


@dataclass
class Faintest:
    """The lower end of the spectrum of deposits, counted block by block and held against a readout threshold.

    Attributes:
        threshold: MeV; nothing is checked if it is zero.
        deposits: how many there were, zeros aside.
        below: how many of them lie under the threshold.
        smallest, largest: MeV.
    """

    threshold: float
    deposits: int = 0
    below: int = 0
    smallest: float = float("nan")
    largest: float = float("nan")
    _at_edge: int = 0
    _beneath: int = 0

    def add(self, deposits: NDArray[np.floating]) -> None:
        """Count deposits of any shape, MeV."""
        found = deposits[deposits > 0]
        if not len(found):
            return
        edge = self.threshold / UNIT
        self.deposits += len(found)
        self.below += int((found < self.threshold).sum())
        self._beneath += int((found < 0.99 * edge).sum())
        self._at_edge += int(((found >= 0.99 * edge) & (found < 2 * edge)).sum())
        self.smallest = float(np.fmin(self.smallest, found.min()))
        self.largest = float(np.fmax(self.largest, found.max()))

    def check(self, where: str) -> None:
        """Raise `DataError` if the deposits contradict the threshold by a unit.

        A file without a threshold (ideal deposits, an untrimmed generator) has *some* deposits below it. One in GeV
        has nearly all of them there, or a sharp edge at a thousandth of it.
        """
        edge = self._at_edge >= max(10, 1e-4 * self.deposits) and not self._beneath
        if self.threshold > 0 and (edge or self.below > 0.9 * self.deposits):
            raise DataError(
                f"{where}: {100 * self.below / self.deposits:.3g} % of the deposits lie under the readout threshold of "
                f"{self.threshold:g} MeV, the smallest at {self.smallest:.4g}; these look like GeV. MeV are expected "
                "(or give the right geometry)."
            )
