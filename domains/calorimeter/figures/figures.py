"""The table of figures: which are drawn, in which order, with which captions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from matplotlib.figure import Figure

from .cells import average_showers, examples
from .curves import (
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

DRAWN: Mapping[str, tuple[Callable[[Gallery], Figure], str]] = {
    "average_showers": (
        average_showers,
        "Mean deposit per voxel of reference and generated showers, and their ratio; grey where a cell has less than "
        "a thousandth of its layer's largest.",
    ),
    "longitudinal_profile": (longitudinal_profile, "Mean energy by depth, with the ratio below."),
    "radial_profile": (radial_profile, "Mean energy by distance from the axis, with the ratio below."),
    "response": (response, "Deposited over incident energy of whole showers, with the ratio below."),
    "layer_energies": (
        layer_energies,
        "Energy of single layers over the incident energy; the fraction of empty ones is given above.",
    ),
    "shapes": (shapes, "Centroids and widths of the layer with most energy."),
    "voxels": (voxels, "Fraction of voxels without energy, and the spectrum of the deposits."),
    "resolution": (resolution, "Energy resolution and linearity by incident energy."),
    "examples": (examples, "Single showers of similar incident energy, {arranged}, not chosen by eye."),
    "classifiers": (
        classifiers,
        "ROC curves of the classifier tests against the first half of the reference, with their AUCs; those of the "
        "table are means over both halves. The diagonal is chance.",
    ),
}
"""Every figure by name, with its caption; {arranged} is replaced by the positions of the two sides."""


def figures(g: Gallery) -> dict[str, Figure]:
    """All figures by name; the label of each is its caption."""
    drawn, arranged = {}, "reference on the left, generated on the right"
    if not g.few_layers:
        arranged = "reference above, generated below"
    for name, (draw, caption) in DRAWN.items():
        drawn[name] = draw(g)
        drawn[name].set_label(caption.format(arranged=arranged))
    return drawn
