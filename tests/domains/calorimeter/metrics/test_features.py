"""Features against sums written out by hand, on polar, Cartesian and partly empty geometries."""

import numpy as np
import pytest
import torch
from maquette.core.data import TensorSource
from maquette.core.statistics.histogram import Binning
from maquette.data_specs.calorimeter.geometries import known_geometry
from maquette.data_specs.calorimeter.geometry import CartesianLayer, Geometry, PolarLayer
from maquette.domains.calorimeter.metrics.features import (
    Extractor,
    evenly_spaced,
    high_level,
    low_level,
    physics_features,
    read,
)

SPECTRUM = Binning(np.array([-3.0]), np.array([3.0]))
MIXED = Geometry(
    "mixed",
    (
        PolarLayer(0, (0.0, 10.0, 30.0), 4),
        PolarLayer(1, (0.0,), 1),
        PolarLayer(2, (0.0, 5.0, 10.0, 50.0), 1),
    ),
    threshold=0.5,
)


def showers(geometry: Geometry, n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.exponential(10.0, size=(n, geometry.n_voxels)) * (rng.random((n, geometry.n_voxels)) < 0.7)
    return x.astype(np.float32)


@pytest.mark.parametrize("geometry", [MIXED, known_geometry("calogan"), known_geometry("ds2")], ids=lambda g: g.name)
def test_features_are_the_sums_they_are_defined_as(geometry: Geometry) -> None:
    x, extractor = showers(geometry, 3), Extractor(geometry, SPECTRUM)
    f = extractor(x, np.array([100.0, 200.0, 300.0]))
    assert f.layer.shape == (3, len(geometry.active))
    for n in range(3):
        for k, i in enumerate(geometry.active):
            layer = geometry.layers[i]
            cells = x[n, geometry.slices[i]].astype(np.float64)
            (cx, cy), r = layer.centers, layer.radii
            energy = cells.sum()
            assert f.layer[n, k] == pytest.approx(energy)
            assert energy > 0
            assert f.occupancy[n, k] == pytest.approx((cells > 0).mean())
            for value, width, at in (
                (f.eta, f.width_eta, cx),
                (f.phi, f.width_phi, cy),
                (f.r, f.width_r, r),
            ):
                if at is not r and k not in extractor.angular:
                    assert value[n, k] == 0
                    continue
                mean = (cells * at).sum() / energy
                assert value[n, k] == pytest.approx(mean, rel=1e-5, abs=1e-4)
                assert width[n, k] == pytest.approx(np.sqrt((cells * (at - mean) ** 2).sum() / energy), rel=1e-4)
    np.testing.assert_allclose(f.total, x.sum(1), rtol=1e-5)
    np.testing.assert_allclose(f.radial.sum(1), x.sum(1), rtol=1e-5)
    np.testing.assert_array_equal(f.spectrum.sum(1), (x > 0).sum(1))


def test_layers_without_cells_or_angle_are_left_out() -> None:
    extractor = Extractor(MIXED, SPECTRUM)
    assert extractor.angular == (0,)
    np.testing.assert_array_equal(extractor.rings, [0, 5, 10, 50])


def test_empty_layers_and_showers_are_zero() -> None:
    x = showers(MIXED, 2)
    x[0] = 0
    x[1, MIXED.slices[0]] = 0
    f = Extractor(MIXED, SPECTRUM)(x, np.array([1.0, 1.0]))
    for name in ("layer", "eta", "phi", "r", "width_eta", "width_r", "occupancy"):
        assert not getattr(f, name)[0].any(), name
        assert getattr(f, name)[1, 0] == 0, name
    assert np.isfinite(high_level(f, (0,))).all()


def test_a_single_cell_has_its_own_centre_and_no_width() -> None:
    x = np.zeros((1, MIXED.n_voxels), dtype=np.float32)
    x[0, 3] = 7.0  # sector 1 of 4, outer ring: r = 20 mm at 135 degrees
    f = Extractor(MIXED, SPECTRUM)(x, np.array([7.0]))
    assert f.r[0, 0] == pytest.approx(20)
    assert f.eta[0, 0] == pytest.approx(-20 / np.sqrt(2))
    assert f.phi[0, 0] == pytest.approx(20 / np.sqrt(2))
    assert f.width_eta[0, 0] == pytest.approx(0, abs=1e-3)


def test_a_layer_of_one_ring_has_no_radial_width() -> None:
    """Not what rounding leaves of it either: scaled by its largest value, that would be a feature."""
    geometry = Geometry("ring", (PolarLayer(0, (0.0, 17.3), 8),))
    f = Extractor(geometry, SPECTRUM)(showers(geometry, 200), np.ones(200))
    assert (f.width_r == 0).all()
    assert (f.width_eta > 1).sum() > 100


def test_exact_lines_are_counted() -> None:
    geometry = Geometry("one", (CartesianLayer(0, (0.0, 1.0, 2.0), (0.0, 1.0, 2.0)),))
    x = np.array([[0.510999, 0.5110009, 0.088005, 0.0], [0.51, 0.51101, 0.088005, 0.088005]], dtype=np.float32)
    f = Extractor(geometry, SPECTRUM)(x, np.ones(2))
    np.testing.assert_array_equal(f.lines, [[1, 1], [0, 2]])


def test_streaming_equals_one_block_and_cuts_at_the_threshold() -> None:
    x, e = showers(MIXED, 2500), np.linspace(1, 2, 2500, dtype=np.float32)
    source = TensorSource(torch.from_numpy(x), {"energy": torch.from_numpy(e)[:, None]})
    extractor = Extractor(MIXED, SPECTRUM)
    f, mean = extractor.stream(source, 2500)
    cut = np.where(x < 0.5, 0, x)
    whole = extractor(cut, e)
    np.testing.assert_array_equal(f.layer, whole.layer)
    np.testing.assert_array_equal(f.spectrum, whole.spectrum)
    np.testing.assert_allclose(mean, cut.mean(0), rtol=1e-6)
    rows = np.array([7, 3, 2000])
    got, energy = read(source, rows, 0.5)
    np.testing.assert_array_equal(got, cut[rows])
    np.testing.assert_array_equal(energy, e[rows])


def test_a_part_of_a_file_comes_from_all_over_it() -> None:
    for total, n in ((10, 10), (10, 20), (1000, 300), (100_000, 4096), (100, 99), (70, 3), (5, 1)):
        rows = evenly_spaced(total, n)
        assert len(rows) == min(n, total)
        assert (np.diff(rows) > 0).all()
        assert rows[0] == 0
        assert rows[-1] == total - 1 or n == 1
        assert np.diff(rows, prepend=-1, append=total).max() <= max(2, total // max(1, min(n, 64) - 1) + 1)


def test_bins_of_the_spectrum_do_not_depend_on_the_order_of_the_file() -> None:
    e = np.geomspace(1, 1000, 9000, dtype=np.float32)  # sorted: the first 4,096 showers are all soft
    x = showers(MIXED, 9000) * e[:, None]
    source = TensorSource(torch.from_numpy(x), {"energy": torch.from_numpy(e)[:, None]})
    bins, deposits = Extractor.fit(MIXED, source).spectrum, x[x >= MIXED.threshold]
    everything = Binning.of(np.log10(deposits)[:, None])
    np.testing.assert_allclose(bins.low, everything.low, atol=0.05)
    np.testing.assert_allclose(bins.high, everything.high, atol=0.05)


def test_classifier_inputs() -> None:
    x, e = showers(MIXED, 4), np.array([10.0, 100.0, 1000.0, 1e4])
    low = low_level(x, e)
    assert low.shape == (4, MIXED.n_voxels + 1)
    np.testing.assert_allclose(low[:, 0], [1, 2, 3, 4])
    np.testing.assert_allclose(low[1, 1:], x[1], rtol=1e-6)  # percent of 100 MeV
    f = Extractor(MIXED, SPECTRUM)(x, e)
    assert high_level(f, (0,)).shape == (4, 1 + 2 + 4 * 1 + 2)
    assert physics_features(f, (0,)).shape == (4, 2 + 4 * 1 + 2 + 2 + 2)
