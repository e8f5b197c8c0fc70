"""The conditions of showers: the properties of the incident particle, their datasets and possible values."""

from __future__ import annotations

from collections.abc import Mapping
from math import pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

CONDITIONS: Mapping[str, str] = {"energy": "incident_energies", "particle": "particle_types", "angle": "angles"}
"""HDF5 dataset of each condition, in the order that is used everywhere; units: MeV, PDG number, radians."""
DTYPES: Mapping[str, Any] = {"energy": np.float32, "particle": np.int64, "angle": np.float32}
"""Type of each condition in memory."""
PARTICLES = (22, 11, -11, 13, -13, 111, 211, -211, 130, 321, -321, 2112, 2212)
"""PDG numbers that a file may have."""
_TURN = 2 * pi * (1 + 1e-6)


def check_conditions(conditions: Mapping[str, NDArray[Any]], where: str, start: int = 0) -> None:
    """Raise `DataError` unless every condition is possible.

    Args:
        conditions: by name, each (n, k) as in the file: particles may be floating-point numbers.
        where: the file, for messages.
        start: number of the first row.

    >>> check_conditions({"energy": np.array([[1000.0], [-5.0]])}, "showers.h5")
    Traceback (most recent call last):
    maquette.data_specs.errors.DataError: showers.h5: row 1: the incident energy is -5; expected a finite positive \
number of MeV (1 such in rows 0 .. 1).
    """
    possible = {
        "energy": lambda values: np.isfinite(values) & (values > 0),
        "particle": lambda values: np.isin(values, PARTICLES),
        "angle": lambda values: np.isfinite(values) & (np.abs(values) <= _TURN),
    }
    expected = {
        "energy": "a finite positive number of MeV",
        "particle": f"a PDG number of {', '.join(map(str, PARTICLES))}",
        "angle": "finite radians, at most a whole turn",
    }
    for name, values in conditions.items():
        wrong = ~possible[name](values)
        if not wrong.any():
            continue
        row, column = np.argwhere(wrong)[0]
        called = "incident energy" if name == "energy" else name
        position = f", column {column}" if values.shape[1] > 1 else ""
        raise DataError(
            f"{where}: row {start + row}{position}: the {called} is {values[row, column]:g}; expected {expected[name]} "
            f"({int(wrong.sum())} such in rows {start} .. {start + len(values) - 1})."
        )
