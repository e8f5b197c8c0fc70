"""A geometry as plain JSON: in the attribute of a shower file, and in the config of a saved model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import pairwise
from math import inf
from typing import Any

from ..errors import DataError
from .geometry import CartesianLayer, Geometry, Layer, Medium, PolarLayer
from .geometry_xml import MAX_VOXELS


def geometry_to_json(geometry: Geometry) -> dict[str, Any]:
    """Return plain data from which `geometry_from_json` builds an equal geometry.

    >>> geometry = Geometry("one", (CartesianLayer(0, (-1.0, 1.0), (-1.0, 1.0)),), threshold=0.1)
    >>> geometry_from_json(geometry_to_json(geometry)) == geometry
    True
    """
    return {
        "name": geometry.name,
        "threshold": geometry.threshold,
        "pid": geometry.pid,
        "medium": None if geometry.medium is None else asdict(geometry.medium),
        "z_edges": None if geometry.z_edges is None else list(geometry.z_edges),
        "layers": [_layer_to_json(layer) for layer in geometry.layers],
    }


def geometry_from_json(value: Mapping[str, Any], *, where: str = "geometry") -> Geometry:
    """Inverse of `geometry_to_json`.

    Raises:
        DataError: the data do not describe a geometry.
    """
    try:
        medium, z_edges = value.get("medium"), value.get("z_edges")
        geometry = Geometry(
            name=str(value["name"]),
            layers=tuple(_layer_from_json(layer) for layer in value["layers"]),
            threshold=float(value["threshold"]),
            pid=int(value["pid"]),
            medium=None if medium is None else Medium(**medium),
            z_edges=None if z_edges is None else _edges(z_edges),
        )
        if not 0 <= geometry.threshold < inf:
            raise ValueError(f"the threshold is {geometry.threshold} MeV")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{where}: does not describe a voxel geometry ({type(error).__name__}: {error}).") from None
    if not 1 <= geometry.n_voxels <= MAX_VOXELS:
        raise DataError(f"{where}: expected 1 .. {MAX_VOXELS} voxels, found {geometry.n_voxels}.")
    return geometry


def _layer_to_json(layer: Layer) -> dict[str, Any]:
    if isinstance(layer, PolarLayer):
        return {"id": layer.id, "r_edges": list(layer.r_edges), "n_alpha": layer.n_alpha}
    return {"id": layer.id, "x_edges": list(layer.x_edges), "y_edges": list(layer.y_edges)}


def _layer_from_json(value: Mapping[str, Any]) -> Layer:
    if "r_edges" in value:
        sectors = int(value["n_alpha"])
        if sectors < 1:
            raise ValueError(f"layer {value['id']} has {sectors} sectors")
        return PolarLayer(int(value["id"]), _edges(value["r_edges"]), sectors)
    return CartesianLayer(int(value["id"]), _edges(value["x_edges"]), _edges(value["y_edges"]))


def _edges(values: Any) -> tuple[float, ...]:
    edges = tuple(float(edge) for edge in values)
    if not edges or any(not a < b for a, b in pairwise(edges)):
        raise ValueError(f"edges must increase, found {edges[:8]}")
    return edges
