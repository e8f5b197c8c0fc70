"""Frechet and kernel distances on the high-level features of showers."""

from collections.abc import Callable

import numpy as np
from maquette.data_specs.calorimeter.geometries import known_geometry
from maquette.domains.calorimeter.metrics.comparison import Comparison
from maquette.domains.calorimeter.metrics.distances import physics_distances
from maquette.domains.calorimeter.metrics.effort import EFFORTS

CALOGAN = known_geometry("calogan")
Sample = tuple[np.ndarray, np.ndarray]


def test_distances_use_every_feature_that_is_not_constant(
    real: tuple[Sample, Sample], compare: Callable[..., Comparison]
) -> None:
    (reference, e), (x, f) = ((x[:600].copy(), e[:600]) for x, e in real)
    layer = CALOGAN.slices[2]
    reference[:, layer] = 0
    same, rare = reference.copy(), x[:, layer].argmax()
    reference[::200, layer.start] = 50.0  # half a percent of the showers
    effort = EFFORTS["smoke"]
    found = [physics_distances(compare((r, e), (x, f)), effort) for r in (same, reference)]
    assert rare
    assert "(16 features; those constant there are left out)" in found[0]["fpd"].definition
    assert (
        "(21 features; " in found[1]["fpd"].definition
    )  # energy, centroids in x, y and r, occupancy; one cell: no width
    for estimates in found:
        assert "Not comparable with published values" in estimates["fpd"].definition
        assert "here they are drawn from 300" in estimates["kpd"].definition
        assert estimates["fpd"].remark == estimates["kpd"].remark == "not comparable"
    nothing = np.zeros_like(same)
    blind = physics_distances(compare((nothing, e), (nothing, e)), effort)
    assert np.isnan(blind["fpd"].value)
    assert "all reference showers are the same" in blind["kpd"].definition
