"""Are these numbers MeV? What is caught without reading a whole file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

LOWEST_MEDIAN = 100.0
"""MeV; showers of less than this are no business of a sampling calorimeter, but 1 .. 100 GeV are."""
RATIO_RANGE = (3e-3, 30.0)
"""Deposited over incident energy: a sampling fraction is at least a per cent; a unit is a factor of 1,000."""


def check_energies(energies: NDArray[np.floating], where: str) -> None:
    """Raise `DataError` if incident energies, shape (n, 1), look like GeV."""
    median = float(np.median(energies))
    if median < LOWEST_MEDIAN:
        raise DataError(
            f"{where}: the median incident energy is {median:.4g}; energies are expected in MeV, "
            "and these look like GeV. Multiply energies and deposits by 1000."
        )


def check_ratio(energies: NDArray[np.floating], totals: NDArray[np.floating], where: str, first_row: int = 0) -> None:
    """Raise `DataError` if deposited and incident energies, shapes (n, 1) and (n,), differ by a unit."""
    low, high = RATIO_RANGE
    ratio = totals / energies[:, 0]
    if (median := float(np.median(ratio))) < low:
        raise DataError(
            f"{where}: the showers hold {median:.2g} of the incident energy (median from row {first_row}); "
            "the deposits look like GeV beside incident energies in MeV. Both are expected in MeV."
        )
    if ratio.max() > high:
        row = int(ratio.argmax())
        raise DataError(
            f"{where}: row {first_row + row} holds {ratio[row]:.4g} times its incident energy of "
            f"{energies[row, 0]:.4g}; units are mixed (GeV beside MeV, or keV). Both are expected in MeV."
        )


def check_threshold(smallest: float, below: float, threshold: float, where: str) -> None:
    """Raise `DataError` if deposits contradict the readout threshold by a unit.

    Args:
        smallest: the smallest deposit that is not zero, MeV.
        below: share of the deposits (zeros aside) under the threshold.
        threshold: MeV; nothing is checked if it is zero.
        where: the file, for messages.

    A file without a threshold (ideal deposits, an untrimmed generator) has *some* deposits below it. One in GeV has
    nearly all of them there, or a sharp edge at a thousandth of it.
    """
    if threshold > 0 and below > 0 and (below > 0.9 or 0.99e-3 <= smallest / threshold <= 1.5e-3):
        raise DataError(
            f"{where}: {100 * below:.3g} % of the deposits lie under the readout threshold of {threshold:g} MeV, the "
            f"smallest at {smallest:.4g}; these look like GeV. MeV are expected (or give the right geometry)."
        )
