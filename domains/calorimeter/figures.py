"""Pictures of generated beside reference showers: what a calorimeter talk would show."""

from __future__ import annotations

from matplotlib.figure import Figure

from .cell_figures import average_showers, examples
from .curve_figures import (
    classifiers,
    layer_energies,
    longitudinal_profile,
    radial_profile,
    resolution,
    response,
    shapes,
    voxels,
)
from .gallery import Gallery


def figures(g: Gallery) -> dict[str, Figure]:
    """All figures by name."""
    return {
        "average_showers": average_showers(g),
        "longitudinal_profile": longitudinal_profile(g),
        "radial_profile": radial_profile(g),
        "response": response(g),
        "layer_energies": layer_energies(g),
        "shapes": shapes(g),
        "voxels": voxels(g),
        "resolution": resolution(g),
        "examples": examples(g),
        "classifiers": classifiers(g),
    }
