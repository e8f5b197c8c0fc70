"""The known geometries: `calogan`, `ds1-photons`, `ds1-pions`, `ds2`, `ds3`.

Layers are in the XML files of the folder `geometries`; readout threshold, medium and depths are in the table below.
Binnings: CaloChallenge (Krause et al., arXiv 2410.21611) and CaloGAN (Paganini, de Oliveira and Nachman, arXiv
1712.10321). The ATLAS data sets ds1-* have no readout threshold and their stack is not uniform.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from .geometry import Geometry, Medium
from .geometry_xml import read_geometry
from .media import LEAD_ARGON, TUNGSTEN_SILICON, Stack

_FOLDER = Path(__file__).with_name("geometries")


@dataclass(frozen=True)
class _Facts:
    threshold: float = 0.0  # MeV
    stack: Stack | None = None
    layer_depth: float | None = None  # mm
    z_edges: tuple[float, ...] | None = None  # mm


_KNOWN: Mapping[str, _Facts] = {
    "calogan": _Facts(threshold=1e-3, stack=LEAD_ARGON, z_edges=(0.0, 90.0, 437.0, 480.0)),
    "ds1-photons": _Facts(),
    "ds1-pions": _Facts(),
    "ds2": _Facts(threshold=15.15e-3, stack=TUNGSTEN_SILICON, layer_depth=2 * TUNGSTEN_SILICON.period),
    "ds3": _Facts(threshold=15.15e-3, stack=TUNGSTEN_SILICON, layer_depth=2 * TUNGSTEN_SILICON.period),
}
NAMES = tuple(_KNOWN)


@cache
def known_geometry(name: str) -> Geometry:
    """Return the geometry called `name`, one of `NAMES`; raises `KeyError`.

    >>> known_geometry("calogan")
    Geometry(calogan, layers=3, voxels=504, threshold=0.001 MeV)
    """
    facts = _KNOWN[name]
    geometry = read_geometry(_FOLDER / f"{name}.xml")
    medium = None
    if facts.stack is not None:
        material = facts.stack.effective
        medium = Medium(material.radiation_length, material.moliere_radius, facts.layer_depth)
    return replace(geometry, threshold=facts.threshold, medium=medium, z_edges=facts.z_edges)
