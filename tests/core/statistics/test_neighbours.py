"""Nearest neighbours, exact for copies."""

import numpy as np
from maquette.core.statistics.neighbours import nearest_distance

RNG = np.random.default_rng


def test_nearest_distance_finds_copies_exactly() -> None:
    rng = RNG(7)
    pool = rng.normal(size=(300, 50)) + 1000  # far from the origin, where squares of norms cancel badly
    x = np.concatenate([pool[17:18], rng.normal(size=(20, 50)) + 1000])
    found = nearest_distance(x, pool, block=8)
    direct = np.linalg.norm(x[:, None] - pool[None], axis=2).min(1)
    assert found[0] == 0
    np.testing.assert_allclose(found, direct, rtol=1e-4, atol=1e-4)
