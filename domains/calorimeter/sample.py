"""The showers in the package: real ones, so that everything runs without a download."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...data_specs.calorimeter.showers import ShowerReader
from ...data_specs.calorimeter.writer import ShowerWriter
from ...data_specs.errors import DataError

SHOWERS = 5_500
HELD_OUT = 42_000
"""First row of the full set that is held out for validation; the sample ends before it."""


def sample_path() -> Path:
    """The embedded file: 5,500 positron showers of 1 .. 10 GeV in a lead and liquid-argon stack, Geant4.

    >>> sample_path().name
    'eplus_sample.h5'
    """
    return Path(__file__).with_name("data") / "eplus_sample.h5"


def make_sample(source: str | Path, target: str | Path, n: int = SHOWERS) -> None:
    """Cut the first `n` showers of the full set at the readout threshold and write them as the embedded file.

    Values are those of the source, bit for bit, so that exact lines (0.510999 MeV, annihilation at rest; 0.088005 MeV,
    the K shell of lead) survive.

    Raises:
        DataError: the source is not a shower file, or `n` reaches into the rows held out for validation.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder) / "few.h5"
    ...     make_sample(sample_path(), file, n=10)
    ...     with ShowerReader(file) as reader:
    ...         reader.attributes["source"]
    'rows 0 .. 9 of eplus_sample.h5, under 0.001 MeV set to zero'
    """
    if not 1 <= n <= HELD_OUT:
        raise DataError(
            f"{target}: expected 1 .. {HELD_OUT} showers, found {n}; later rows are held out for validation."
        )
    with ShowerReader(source) as reader:
        showers, geometry = reader.read(0, n), reader.geometry
        attributes = {
            "description": reader.attributes.get("description", ""),
            "engine": reader.attributes.get("engine", ""),
            "source": f"rows 0 .. {n - 1} of {Path(source).name}, under {geometry.threshold:g} MeV set to zero",
            "licence": "Apache-2.0",
        }
    deposits = np.where(showers.deposits < geometry.threshold, np.float32(0), showers.deposits)
    with ShowerWriter(target, geometry, n, attributes, chunk=500, compression=9) as writer:
        writer.append(deposits, showers.conditions)
