"""Figures: all there, nothing lost outside the canvas, units and sample sizes written on them."""

import re
import warnings
from functools import cache

import matplotlib as mpl
import numpy as np
import pytest
import torch
from maquette.core.data import TensorSource
from maquette.core.statistics.two_sample import TwoSample
from maquette.data_specs.calorimeter.geometries import known_geometry
from maquette.data_specs.calorimeter.geometry import CartesianLayer, Geometry, PolarLayer
from maquette.domains.calorimeter.figures.figures import figures
from maquette.domains.calorimeter.figures.gallery import EXAMPLES, Gallery, matched
from maquette.domains.calorimeter.figures.layers import draw_layer
from maquette.domains.calorimeter.metrics.features import Extractor
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.text import Text

NAMES = {
    "average_showers",
    "longitudinal_profile",
    "radial_profile",
    "response",
    "layer_energies",
    "shapes",
    "voxels",
    "resolution",
    "examples",
    "classifiers",
}
UNITLESS = (
    "fraction",
    "density",
    "gen. / ref.",
    "$E_{incident}$",
    "layer",
    "reference",
    "generated",
    "ratio",
    "E_{total}",
)


def gallery(geometry: Geometry, n: int = 60, *, dead: bool = False) -> Gallery:

    rng = np.random.default_rng(0)
    sides = []
    for _ in range(2):
        energy = np.exp(rng.uniform(np.log(1e3), np.log(1e4), n)).astype(np.float32)
        x = rng.exponential(size=(n, geometry.n_voxels)) * (rng.random((n, geometry.n_voxels)) < 0.2)
        x = (x / x.sum(1, keepdims=True) * energy[:, None] * (0 if dead else 1)).astype(np.float32)
        sides.append((x, energy))
    sources = [TensorSource(torch.from_numpy(x), {"energy": torch.from_numpy(e)[:, None]}) for x, e in sides]
    extractor = Extractor.fit(geometry, sources[0])
    (r, r_mean), (g, g_mean) = (extractor.stream(source, n) for source in sources)
    rows = matched(r.incident, g.incident)
    test = TwoSample(0.5, 0.1, 0, 0.1, 30, rng.random(12), np.tile([0, 1], 6))
    return Gallery(
        extractor,
        r,
        g,
        (r_mean, g_mean),
        (sides[0][0][rows[0]], sides[1][0][rows[1]]),
        (sides[0][1][rows[0]], sides[1][1][rows[1]]),
        {"low": test, "high": test, "trees": test},
    )


@cache
def all_figures(name: str) -> dict[str, Figure]:
    """The figures of a geometry, made once."""
    return dict(figures(gallery(known_geometry(name))))


def drawn(figure: Figure) -> Figure:
    """The figure as it is when its pixels are written, which would take as long again."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a layout that could not be made is a warning in matplotlib
        figure.draw_without_rendering()
    return figure


@pytest.mark.parametrize(
    ("name", "looked_at"),
    [("calogan", NAMES), ("ds2", NAMES), ("ds1-photons", {"average_showers", "shapes", "examples"})],
)
def test_every_figure_is_drawn_with_units_and_sizes(name: str, looked_at: set[str]) -> None:
    before = dict(mpl.rcParams)
    found = all_figures(name)
    assert set(found) == NAMES
    for key in looked_at:
        figure = drawn(found[key])
        assert str(figure.get_label()).endswith("."), key  # the caption
        texts = [text.get_text() for text in figure.findobj(Text) if text.get_visible()]
        assert any(re.search(r"n = \d", text) for text in texts), key
        for axes in figure.axes:
            for label in (axes.get_xlabel(), axes.get_ylabel()):
                known = "[" in label or "log" in label or "mm" in label or any(word in label for word in UNITLESS)
                assert not label or known, (key, label)
            box = axes.get_position()
            assert 0 <= box.x0 < box.x1 <= 1, key
            assert 0 <= box.y0 < box.y1 <= 1, key
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(("name", "axis", "words"), [("calogan", 0, "on the left"), ("ds2", 1, "above")])
def test_the_caption_says_where_single_showers_of_either_side_are(name: str, axis: int, words: str) -> None:
    figure = drawn(all_figures(name)["examples"])  # which settles the layout
    corners = {side: [] for side in ("reference", "generated")}
    for axes in figure.axes:
        for side, found in corners.items():
            if side in axes.get_ylabel() + axes.get_title(loc="left"):
                found.append(axes.get_position().get_points()[0])
    reference, generated = (np.mean(found, axis=0) for found in corners.values())
    apart = (generated - reference) * (1, -1)  # to the right, and down
    assert apart[axis] > 0.2
    assert apart[1 - axis] == pytest.approx(0, abs=1e-6)
    assert f"reference {words}, generated" in figure.get_label()


def test_dead_showers_can_be_drawn() -> None:
    found = figures(gallery(known_geometry("calogan"), dead=True))
    for name in ("average_showers", "shapes", "resolution", "examples"):
        drawn(found[name])


def test_cells_are_drawn_where_they_are() -> None:
    layer = CartesianLayer(0, (0.0, 1.0, 2.0), (0.0, 1.0, 2.0, 3.0))
    axes = Figure().add_subplot()
    mesh = draw_layer(axes, layer, np.arange(6.0), LogNorm(1, 10), "viridis")
    np.testing.assert_array_equal(np.asarray(mesh.get_array()), [[0, 3], [1, 4], [2, 5]])  # rows are y
    polar = Figure().add_subplot(projection="polar")
    ring = draw_layer(polar, PolarLayer(0, (0.0, 1.0, 2.0), 4), np.arange(8.0), LogNorm(1, 10), "viridis")
    drawn = np.asarray(ring.get_array())
    assert drawn.shape == (2, 64)
    np.testing.assert_array_equal(drawn[0, ::16], [0, 2, 4, 6])  # sectors run around, rings outwards


def test_examples_pair_like_energies() -> None:
    rng = np.random.default_rng(1)
    a, b = np.exp(rng.uniform(7, 9, (2, 3000)))
    i, j = matched(a, b)
    assert len(i) == EXAMPLES
    np.testing.assert_allclose(a[i], b[j], rtol=0.02)
    assert (np.diff(a[i]) > 0).all()
