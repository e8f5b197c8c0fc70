"""Frechet and kernel physics distances on the high-level features of showers."""

from __future__ import annotations

from collections.abc import Callable

from ...judging import distances
from ...judging.comparison import Estimates
from ...judging.effort import EffortConfig
from .comparison import Comparison
from .features import physics_features


def physics_distances(
    c: Comparison, effort: EffortConfig, progress: Callable[[int, int], None] = lambda done, total: None
) -> Estimates:
    """The distances between `physics_features`; see `domains.judging.distances`."""
    reference, generated = (physics_features(side, c.extractor.angular) for side in (c.reference, c.generated))
    described = "layer energies over E_incident, centroids, widths and occupancies"
    return distances.physics_distances(
        c, reference, generated, effort, described=described, things="showers", progress=progress
    )
