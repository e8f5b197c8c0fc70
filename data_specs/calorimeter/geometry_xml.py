"""The XML files that describe voxel geometries, in the format of the CaloChallenge.

    <Bins>
      <Bin pid="11" name="electron" threshold="0.015">
        <Layer id="0" r_edges="0,4.65,9.3" n_bin_alpha="16"/>
        <Layer id="1" x_edges="-10,0,10" y_edges="-10,0,10"/>

`r_edges` in mm; `r_edges="0"` is a layer without cells. The second form, rectangular cells, and the optional readout
threshold in MeV are extensions of the format.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import inf, isfinite
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, ParseError, SubElement, indent

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from ..errors import DataError
from .geometry import CartesianLayer, Geometry, Layer, PolarLayer

LARGEST_FILE = 4 * 2**20  # bytes
MAX_VOXELS = 10_000_000
_PARTICLES = {11: "electron", -11: "positron", 22: "photon", 211: "pion"}


def read_geometry(file: Path, pid: int | None = None) -> Geometry:
    """Read a geometry.

    Args:
        file: the XML file.
        pid: PDG number of the particle; needed if the file has several.

    Raises:
        DataError: not such a file, or an impossible geometry (the message names the layer).

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder) / "small.xml"
    ...     layer = '<Layer id="0" r_edges="0,5,10" n_bin_alpha="4"/>'
    ...     _ = file.write_text(f'<Bins><Bin pid="22" name="photon">{layer}</Bin></Bins>')
    ...     read_geometry(file)
    Geometry(small, layers=1, voxels=8, threshold=0 MeV)
    """
    bins = _read(file).findall("Bin")
    held = [_integer(item, "pid", f"{file}: <Bin>") for item in bins]
    if not bins:
        raise DataError(f"{file}: expected a <Bin> element with layers inside <Bins>, found none.")
    if pid is None and len(bins) > 1:
        raise DataError(f"{file}: holds the particles {held}; choose one of them by its number, as {file}:{held[0]}.")
    if pid is not None and held.count(pid) != 1:
        raise DataError(f"{file}: expected one <Bin> of particle {pid}, found the particles {held}.")
    chosen = 0 if pid is None else held.index(pid)
    return Geometry(
        name=file.stem,
        layers=_layers(bins[chosen], str(file)),
        threshold=_threshold(bins[chosen], f"{file}: <Bin>"),
        pid=held[chosen],
    )


def write_geometry(file: Path, geometry: Geometry) -> None:
    """Write the layers and the threshold of a geometry; the format has no medium and no depths.

    >>> from tempfile import TemporaryDirectory
    >>> geometry = Geometry("pair", (CartesianLayer(0, (-1.0, 0.0, 1.0), (-1.0, 1.0)),), threshold=0.1)
    >>> with TemporaryDirectory() as folder:
    ...     write_geometry(Path(folder) / "pair.xml", geometry)
    ...     read_geometry(Path(folder) / "pair.xml") == geometry
    True
    """
    root = Element("Bins")
    particle = SubElement(root, "Bin", pid=str(geometry.pid), name=_PARTICLES.get(geometry.pid, "any"))
    if geometry.threshold:
        particle.set("threshold", f"{geometry.threshold:.10g}")
    for layer in geometry.layers:
        if isinstance(layer, PolarLayer):
            edges = {"r_edges": _join(layer.r_edges), "n_bin_alpha": str(layer.n_alpha)}
        else:
            edges = {"x_edges": _join(layer.x_edges), "y_edges": _join(layer.y_edges)}
        SubElement(particle, "Layer", {"id": str(layer.id), **edges})
    indent(root, "  ")
    ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)


def _join(edges: Sequence[float]) -> str:
    return ",".join(f"{edge:.10g}" for edge in edges)


def _read(file: Path) -> Element:
    try:
        size = file.stat().st_size
        if size > LARGEST_FILE:
            raise DataError(f"{file}: {size} bytes is too large for a geometry (at most {LARGEST_FILE}).")
        root = fromstring(file.read_bytes(), forbid_dtd=True)
    except OSError as error:
        raise DataError(f"{file}: expected a geometry in XML, but it cannot be read ({error.strerror}).") from None
    except DefusedXmlException:
        raise DataError(
            f"{file}: declares a document type or entities, which can blow up when read; remove the <!DOCTYPE>."
        ) from None
    except (ParseError, ValueError) as error:
        raise DataError(f"{file}: not readable as XML ({error}).") from None
    if root.tag != "Bins":
        raise DataError(f"{file}: expected <Bins> as the outermost element, found <{root.tag}>.")
    return root


def _layers(particle: Element, where: str) -> tuple[Layer, ...]:
    elements = particle.findall("Layer")
    if not elements:
        raise DataError(f"{where}: expected <Layer> elements, found none.")
    ids = [_integer(element, "id", f"{where}: <Layer>") for element in elements]
    for number, expected in zip(sorted(ids), range(len(ids)), strict=True):
        if ids.count(number) > 1:
            raise DataError(f"{where}: layer {number} is there {ids.count(number)} times; each layer once.")
        if number != expected:
            raise DataError(
                f"{where}: layer {expected} is missing (found the layers {sorted(ids)}); "
                'layers are numbered from 0 without gaps, one without cells is written r_edges="0".'
            )
    ordered = sorted(zip(ids, elements, strict=True), key=lambda pair: pair[0])
    layers = tuple(_layer(number, element, f"{where}: layer {number}") for number, element in ordered)
    voxels = sum(layer.n_voxels for layer in layers)
    if not 1 <= voxels <= MAX_VOXELS:
        raise DataError(f"{where}: expected 1 .. {MAX_VOXELS} voxels, found {voxels}.")
    return layers


def _layer(number: int, element: Element, where: str) -> Layer:
    if "x_edges" in element.attrib or "y_edges" in element.attrib:
        x, y = _edges(element, "x_edges", where), _edges(element, "y_edges", where)
        if len(x) < 2 or len(y) < 2:
            raise DataError(f"{where}: x_edges and y_edges each need at least two edges.")
        return CartesianLayer(number, x, y)
    r = _edges(element, "r_edges", where)
    if r[0] < 0:
        raise DataError(f"{where}: r_edges start at {r[0]:g}; a radius is not negative.")
    sectors = _integer(element, "n_bin_alpha", where)
    if sectors < 1:
        raise DataError(f"{where}: n_bin_alpha is {sectors}; expected 1 or more.")
    return PolarLayer(number, r, sectors)


def _threshold(particle: Element, where: str) -> float:
    text = particle.get("threshold", "0")
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < inf:
        raise DataError(f'{where}: expected a threshold of 0 or more MeV, found "{text[:60]}".')
    return value


def _edges(element: Element, name: str, where: str) -> tuple[float, ...]:
    text = _attribute(element, name, where)
    try:
        edges = tuple(float(word) for word in text.split(","))
    except ValueError:
        raise DataError(f'{where}: expected numbers between commas in {name}, found "{text[:60]}".') from None
    if not all(map(isfinite, edges)) or any(a >= b for a, b in pairwise(edges)):
        raise DataError(f"{where}: {name} must increase, found {text[:60]}.")
    return edges


def _integer(element: Element, name: str, where: str) -> int:
    text = _attribute(element, name, where)
    try:
        return int(text)
    except ValueError:
        raise DataError(f'{where}: expected a whole number for {name}, found "{text[:60]}".') from None


def _attribute(element: Element, name: str, where: str) -> str:
    text = element.get(name)
    if text is None:
        raise DataError(f"{where}: the attribute {name} is missing (found {sorted(element.attrib)}).")
    return text
