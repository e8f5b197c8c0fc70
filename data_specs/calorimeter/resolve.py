"""Finds the geometry of a shower file: by the user's option, else the file's attribute, else the voxel count."""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from ..errors import DataError
from .geometries import NAMES, known_geometry
from .geometry import Geometry
from .geometry_json import geometry_from_json
from .geometry_xml import read_geometry

_REMEDY = "the geometry it was made with (--option geometry=NAME or FILE.xml)."  # ends a sentence


def resolve_geometry(
    option: str | Geometry | None,
    attribute: str | None,
    n_voxels: int,
    *,
    where: str = "showers",
    expected: Geometry | None = None,
) -> tuple[Geometry, str]:
    """Return (geometry, how it was found).

    Args:
        option: a known name, an XML file, `FILE.xml:PID`, or a geometry; overrides the file.
        attribute: the file's own attribute: a known name, or a geometry as JSON.
        n_voxels: deposits per shower, against which the geometry is checked.
        where: the file, for messages.
        expected: the geometry that showers must have; also that of a file without an attribute.

    Raises:
        DataError: no such geometry, one with another number of voxels, or other cells than expected.

    >>> geometry, how = resolve_geometry(None, None, n_voxels=6480)
    >>> geometry.name, how
    ('ds2', 'from its 6480 voxels')
    """
    if option is not None:
        geometry, how = named_geometry(option) if isinstance(option, str) else option, "as asked"
    elif attribute is not None:
        geometry, how = _from_attribute(attribute, where), "from the file's attribute"
    elif expected is not None:
        geometry, how = expected, "as expected"
    else:
        geometry, how = _from_count(n_voxels, where), f"from its {n_voxels} voxels"
    if geometry.n_voxels != n_voxels:
        raise DataError(
            f"{where}: the geometry {geometry.name} ({how}) has {geometry.n_voxels} voxels, but each shower has "
            f"{n_voxels}; give " + ("a file of this geometry." if how == "as expected" else _REMEDY)
        )
    if expected is not None and geometry.layers != expected.layers:
        raise DataError(
            f"{where}: its showers are of the geometry {geometry.name} ({how}), whose cells are not those of "
            f"{expected.name}; give a file of that geometry."
        )
    return geometry, how


def named_geometry(name: str) -> Geometry:
    """Return the geometry of a known name, an XML file, or `FILE.xml:PID`; raises `DataError`.

    >>> named_geometry("calogan").n_voxels
    504
    """
    if name in NAMES:
        return known_geometry(name)
    file, separator, pid = name.rpartition(":")
    if separator and file.lower().endswith(".xml") and pid.lstrip("-").isdigit():
        return read_geometry(Path(file), int(pid))
    if name.lower().endswith(".xml"):
        return read_geometry(Path(name))
    near = get_close_matches(name, NAMES, n=1, cutoff=0.5)
    suggestion = f' Did you mean "{near[0]}"?' if near else ""
    raise DataError(f'There is no geometry called "{name}".{suggestion} Known: {", ".join(NAMES)}; or an .xml file.')


def _from_attribute(attribute: str, where: str) -> Geometry:
    if not attribute.lstrip().startswith("{"):
        if attribute in NAMES:  # a file must not name other files to be read
            return known_geometry(attribute)
        raise DataError(
            f'{where}: its attribute names an unknown geometry "{attribute[:60]}"; give it with --option geometry=NAME.'
        )
    try:
        value = json.loads(attribute)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{where}: its attribute `geometry` is not readable as JSON ({error}).") from None
    if not isinstance(value, Mapping):
        raise DataError(f"{where}: its attribute `geometry` does not describe a voxel geometry.")
    return geometry_from_json(value, where=f"{where}: attribute `geometry`")


def _from_count(n_voxels: int, where: str) -> Geometry:
    counts = {known_geometry(name).n_voxels: name for name in NAMES}
    if n_voxels not in counts:
        known = ", ".join(f"{name} {count}" for count, name in counts.items())
        raise DataError(
            f"{where}: no known geometry has {n_voxels} voxels ({known}); give it with --option geometry=FILE.xml."
        )
    return known_geometry(counts[n_voxels])
