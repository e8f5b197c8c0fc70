"""Checks that energies are in MeV, on a sample of a file or on all of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

LOWEST_MEDIAN = 100.0
"""MeV; a file whose median incident energy is below is in GeV: sampling calorimeters measure showers of more."""
RATIO_RANGE = (3e-3, 30.0)
"""Possible deposited over incident energy: sampling fractions are above a per cent, a wrong unit is a factor 1,000."""
UNIT = 1000.0
"""The factor between GeV and MeV, and between MeV and keV."""
MIN_SHOWERS = 64
"""A block's distribution is checked if so many of its showers have deposits."""
_SLACK = 1.5  # ratios in one unit lie within the central 90 % times this factor


def check_energies(energies: NDArray[np.floating], where: str) -> None:
    """Raise `DataError` if incident energies, shape (n, 1), look like GeV.

    >>> check_energies(np.array([[5.0], [50.0]]), "showers.h5")
    Traceback (most recent call last):
    maquette.data_specs.errors.DataError: showers.h5: the median incident energy is 27.5; energies are expected in \
MeV, and these look like GeV. Multiply energies and deposits by 1000.
    """
    median = float(np.median(energies))
    if median < LOWEST_MEDIAN:
        raise DataError(
            f"{where}: the median incident energy is {median:.4g}; energies are expected in MeV, "
            "and these look like GeV. Multiply energies and deposits by 1000."
        )


def check_rows(energies: NDArray[np.floating], totals: NDArray[np.floating], where: str, first_row: int = 0) -> None:
    """Raise `DataError` if a shower deposits far more than its incident energy; shapes (n, 1) and (n,).

    >>> check_rows(np.array([[5.0]]), np.array([4800.0]), "showers.h5", first_row=7)
    Traceback (most recent call last):
    maquette.data_specs.errors.DataError: showers.h5: row 7 holds 960 times its incident energy of 5; units are \
mixed (GeV beside MeV, or keV). Both are expected in MeV.
    """
    ratio = totals / energies[:, 0]
    if len(ratio) and ratio.max() > RATIO_RANGE[1]:
        row = int(ratio.argmax())
        raise DataError(
            f"{where}: row {first_row + row} holds {ratio[row]:.4g} times its incident energy of "
            f"{energies[row, 0]:.4g}; units are mixed (GeV beside MeV, or keV). Both are expected in MeV."
        )


def check_together(energies: NDArray[np.floating], totals: NDArray[np.floating], where: str, rows: str) -> None:
    """Raise `DataError` if deposits are a factor 1,000 too small, in most showers or in a part of them.

    A single shower may deposit almost nothing, so only the distribution of many is checked. Empty showers are ignored.

    Args:
        energies: incident, (n, 1).
        totals: deposited, (n,).
        where: the file, for messages.
        rows: which showers these are, for messages.

    >>> check_together(np.full((100, 1), 5000.0), np.full(100, 4.8), "showers.h5", "rows 0 .. 99")
    Traceback (most recent call last):
    maquette.data_specs.errors.DataError: showers.h5: the showers hold 0.00096 of the incident energy (median of rows \
0 .. 99); the deposits look like GeV beside incident energies in MeV. Both are expected in MeV.
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
    # a second peak 1,000 times below the first with nothing in between is not the tail of one distribution
    if faint >= max(5, 0.02 * len(ratio)) and 10 * between <= faint and high / UNIT < low / 10:
        raise DataError(
            f"{where}: {faint} of {len(ratio)} showers ({rows}) hold a thousandth of what the others hold of their "
            "incident energy; units are mixed (GeV beside MeV). Both are expected in MeV."
        )


@dataclass
class ThresholdCheck:
    """Counts deposits block by block and compares the lower end of their spectrum with a readout threshold.

    Attributes:
        threshold: MeV; nothing is checked if it is zero.
        deposits: how many were counted, without zeros.
        below: how many of them are under the threshold.
        smallest, largest: MeV.

    >>> check = ThresholdCheck(0.1)
    >>> check.add(np.array([0.0, 0.05, 2.0]))
    >>> check.deposits, check.below, check.smallest
    (2, 1, 0.05)
    """

    threshold: float
    deposits: int = 0
    below: int = 0
    smallest: float = float("nan")
    largest: float = float("nan")
    _at_edge: int = 0  # deposits from a thousandth of the threshold to twice that
    _beneath: int = 0  # deposits below a thousandth of the threshold

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
        """Raise `DataError` if the deposits contradict the threshold by a factor 1,000.

        A file of ideal deposits, or of a generator that applies no threshold, has *some* deposits below it. A file in
        GeV has nearly all of them there, or a sharp edge at a thousandth of the threshold.
        """
        edge = self._at_edge >= max(10, 1e-4 * self.deposits) and not self._beneath
        if self.threshold > 0 and (edge or self.below > 0.9 * self.deposits):
            raise DataError(
                f"{where}: {100 * self.below / self.deposits:.3g} % of the deposits lie under the readout threshold of "
                f"{self.threshold:g} MeV, the smallest at {self.smallest:.4g}; these look like GeV. MeV are expected "
                "(or give the right geometry)."
            )
