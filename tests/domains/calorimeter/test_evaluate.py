"""Each way to spoil real showers is caught, by the metric that measures it first; real against real is not."""

from collections.abc import Callable

import h5py
import numpy as np
import pytest
from maquette.core.errors import ConfigError, SampleError, SpaceError
from maquette.core.statistics.estimate import Estimate
from maquette.core.statistics.verdict import verdict
from maquette.data_specs.calorimeter.geometries import known_geometry
from maquette.domains.calorimeter.evaluate import evaluate, feature_metrics
from maquette.domains.calorimeter.metrics.comparison import Comparison
from maquette.domains.calorimeter.metrics.distances import physics_distances
from maquette.domains.calorimeter.metrics.effort import EFFORTS

CALOGAN = known_geometry("calogan")
Sample = tuple[np.ndarray, np.ndarray]
WANTED = {
    *("auc_low", "auc_high", "auc_trees", "jsd_low", "jsd_high", "fpd", "kpd", "line_511", "line_88"),
    *(f"separation_{what}" for what in ("layer_energy", "total_energy", "sparsity", "voxel_spectrum")),
    *(f"separation_{what}_{axis}" for what in ("centroid", "width") for axis in ("eta", "phi", "r")),
    *("response_mean_shift", "response_width_ratio", "linearity", "resolution", "t_max", "r90", "memorisation"),
}


def cheap(c: Comparison) -> dict[str, Estimate]:
    return feature_metrics(c)


def first(estimates: dict[str, Estimate]) -> str:
    return max(estimates, key=lambda name: np.nan_to_num(estimates[name].significance(), nan=-np.inf))


def test_real_against_real_is_indistinguishable(real: tuple[Sample, Sample]) -> None:
    seen: set[str] = set()
    result = evaluate(*real, CALOGAN, seed=0, effort="smoke", progress=lambda what, done, total: seen.add(what))
    assert result.verdict.startswith("indistinguishable at n = 1,000")
    assert set(result.estimates) >= WANTED
    for name, estimate in result.estimates.items():
        assert estimate.definition.endswith("."), name
        assert np.isnan(estimate.value) == (name in {"t_max", "r90", "memorisation"}), name
        assert not estimate.significance() > 3, name
    assert {"features, reference", "classifier low", "classifier trees", "physics distances"} <= seen
    assert any("1 keV" in note for note in result.notes)
    assert any("smoke" in note for note in result.notes)


def test_the_seed_decides_everything(real: tuple[Sample, Sample]) -> None:
    few = tuple((x[:100], e[:100]) for x, e in real)
    one, again = (evaluate(*few, CALOGAN, seed=3, effort="smoke").estimates for _ in range(2))
    assert {k: v.to_json() for k, v in one.items()} == {k: v.to_json() for k, v in again.items()}


def scaled(x: np.ndarray) -> np.ndarray:
    return x * np.float32(1.01)


def moved(x: np.ndarray) -> np.ndarray:
    """One shower in five by one 5 mm cell of the first layer: 1 mm on average, everything else untouched."""
    y = x.copy()
    view = y[:, CALOGAN.slices[0]].reshape(len(x), 3, 96)
    view[::5] = np.roll(view[::5], 1, axis=2)
    y[:, CALOGAN.slices[0]] = view.reshape(len(x), -1)
    return y


def permuted(x: np.ndarray) -> np.ndarray:
    rng, y = np.random.default_rng(0), x.copy()
    for part in CALOGAN.slices:
        y[:, part] = rng.permuted(y[:, part], axis=1)
    return y


def without_lines(x: np.ndarray) -> np.ndarray:
    on = np.abs(x - 0.510999) < 1e-6
    return np.where(on, x * np.float32(1.0001), x)


@pytest.mark.parametrize(
    ("spoil", "by"),
    [
        (scaled, {"separation_total_energy", "response_mean_shift", "linearity", "wasserstein_response"}),
        (moved, {"separation_centroid_phi"}),
        (permuted, {"separation_width_phi", "separation_width_eta", "separation_centroid_r"}),
        (without_lines, {"line_511"}),
        (lambda x: np.where(x < 0.1, 0, x), {"separation_voxel_spectrum", "separation_sparsity", "line_88"}),
    ],
    ids=["energy +1 %", "centroid +1 mm", "voxels permuted", "no 511 keV line", "soft voxels lost"],
)
def test_spoilt_showers_are_caught_by_the_right_metric(
    real: tuple[Sample, Sample],
    spoil: Callable[[np.ndarray], np.ndarray],
    by: set[str],
    compare: Callable[..., Comparison],
) -> None:
    reference, (x, e) = real
    found = cheap(compare(reference, (spoil(x).astype(np.float32), e)))
    assert first(found) in by
    assert found[first(found)].significance() > 5
    assert verdict(found, 1).startswith(f"distinguishable by {first(found)} (")


def test_dead_showers_are_judged_too(real: tuple[Sample, Sample]) -> None:
    reference, (x, e) = ((x[:200], e[:200]) for x, e in real)
    result = evaluate(reference, (np.zeros_like(x), e), CALOGAN, effort="smoke")
    assert result.verdict.startswith("distinguishable by ")
    assert result.estimates["auc_low"].value > 0.9
    assert result.estimates["response_width_ratio"].value == 0
    assert result.estimates["response_mean_shift"].value < -100


def all_dead(x: np.ndarray) -> np.ndarray:
    return np.zeros_like(x)


def all_but_one_dead(x: np.ndarray) -> np.ndarray:
    return np.where(np.arange(len(x))[:, None] == 0, x, 0)


def all_in_one_layer(x: np.ndarray) -> np.ndarray:
    first = np.arange(x.shape[1]) < 144
    return np.where(first, x.sum(1, keepdims=True) / 144, 0)


@pytest.mark.parametrize("spoil", [all_dead, all_but_one_dead, all_in_one_layer])
def test_showers_without_a_profile_are_judged_where_profiles_can_be(
    spoil: Callable[[np.ndarray], np.ndarray], compare: Callable[..., Comparison]
) -> None:
    geometry, rng = known_geometry("ds2"), np.random.default_rng(0)
    depth = np.repeat(np.arange(45) + 0.5, 144)
    hit = rng.random((160, geometry.n_voxels)) < 0.2
    x = (rng.exponential(depth**2 * np.exp(-depth / 5), hit.shape) * hit).astype(np.float32)
    e = x.sum(1) * rng.uniform(1, 1.2, 160)
    found = feature_metrics(compare((x[:80], e[:80]), (spoil(x[80:]), e[80:]), geometry))
    assert found["t_max"].significance() == np.inf
    assert verdict(found, 40).startswith("distinguishable by ")
    if spoil is all_dead:
        assert found["r90"].significance() == np.inf
        assert "t_max (not measurable in the generated sample)" in verdict({"t_max": found["t_max"]}, 40)


def test_layers_without_cells_or_angle_can_be_judged(compare: Callable[..., Comparison]) -> None:
    geometry, rng = known_geometry("ds1-photons"), np.random.default_rng(0)
    x = rng.exponential(size=(400, geometry.n_voxels)) * (rng.random((400, geometry.n_voxels)) < 0.3)
    e = (1.1 * x.sum(1)).astype(np.float32)
    found = feature_metrics(compare((x[:200], e[:200]), (x[200:], e[200:]), geometry))
    assert verdict(found, 100).startswith("indistinguishable")
    assert found["separation_centroid_eta"].value > 0


def test_pulls_of_every_metric_between_random_parts(
    real: tuple[Sample, Sample], compare: Callable[..., Comparison]
) -> None:
    """Real showers against real ones, parted at random: excess over the floor is about a standard normal."""
    x, e = (np.concatenate(both) for both in zip(*real, strict=True))
    pulls: dict[str, list[float]] = {}
    for seed in range(15):
        order = np.random.default_rng(seed).permutation(len(x))[:1600]
        r, g = order[:800], order[800:]
        c = compare((x[r], e[r]), (x[g], e[g]), seed=seed)
        found = cheap(c) | physics_distances(c, EFFORTS["quick"])
        for name, estimate in found.items():
            pulls.setdefault(name, []).append(estimate.significance())
    for name, values in pulls.items():
        if name not in {"t_max", "r90"}:
            assert 0.3 < np.sqrt(np.mean(np.square(values))) < 1.7, name
            assert max(values) < 4, name


def test_polar_showers_real_against_real_and_narrowed(data_folder, compare: Callable[..., Comparison]) -> None:
    geometry = known_geometry("ds2")
    with h5py.File(data_folder / "calorimeter" / "geant4_ds2_eminus_train.h5") as file:
        x, e = file["showers"][:1600], file["incident_energies"][:1600]
    found = cheap(compare((x[:800], e[:800]), (x[800:], e[800:]), geometry))
    assert verdict(found, 400).startswith("indistinguishable")
    assert found["t_max"].value == pytest.approx(4.8, abs=0.2)
    assert 0.9 < found["r90"].value < 1.3
    assert np.isnan(found["line_511"].value)  # silicon deposits over a sampling fraction

    narrow = x[800:].reshape(800, 45, 16, 9).copy()
    narrow[..., 0] += narrow[..., 2:].sum(-1)
    narrow[..., 2:] = 0
    spoilt = cheap(compare((x[:800], e[:800]), (narrow.reshape(800, -1), e[800:]), geometry))
    assert spoilt["r90"].significance() > 10
    assert spoilt["separation_width_r"].significance() > 10
    turned = np.roll(x[800:].reshape(800, 45, 16, 9), 5, axis=2).reshape(800, -1)  # a symmetry: nothing to find
    found = cheap(compare((x[:800], e[:800]), (turned, e[800:]), geometry))
    assert verdict(found, 400).startswith("indistinguishable")


def test_a_part_of_a_sorted_file_represents_all_of_it(real: tuple[Sample, Sample]) -> None:
    """The reference is sorted by energy and read in part; the generated file is not, and is read whole."""
    x, e = (np.concatenate(both) for both in zip(*real, strict=True))
    order = np.argsort(e[:3000, 0])
    effort = EFFORTS["smoke"].model_copy(update={"showers": 600})
    result = evaluate((x[order], e[order]), (x[3000:3600], e[3000:3600]), CALOGAN, effort=effort)
    assert result.verdict.startswith("indistinguishable at n = 300")
    assert "Of the reference sample 600 of 3,000 showers were read, evenly spaced." in result.notes
    assert not any("Of the generated sample" in note for note in result.notes)
    assert "showers of it, evenly spaced" in result.estimates["separation_voxel_spectrum"].definition


def test_bad_input_is_a_sentence(real: tuple[Sample, Sample]) -> None:
    with pytest.raises(ConfigError, match='Did you mean "quick"'):
        evaluate(*real, CALOGAN, effort="quik")
    with pytest.raises(SpaceError, match=r"generated showers have shape \(503,\).* 504 voxels"):
        evaluate(real[0], (real[1][0][:, :-1], real[1][1]), CALOGAN)
    with pytest.raises(SampleError, match="generated sample has no showers"):
        evaluate(real[0], (real[1][0][:0], real[1][1][:0]), CALOGAN)
    with pytest.raises(SampleError, match="found 2750 and 5"):
        evaluate(real[0], (real[1][0][:5], real[1][1][:5]), CALOGAN)
