"""Each way to spoil real showers is caught, by the metric that measures it first; real against real is not."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import h5py
import numpy as np
import pytest
import torch
from maquette.core.data import TensorSource
from maquette.core.errors import ConfigError, SampleError, SpaceError
from maquette.core.statistics.classifier import NetworkLearner
from maquette.core.statistics.comparison import Halves, halves
from maquette.core.statistics.estimate import Estimate
from maquette.core.statistics.mmd import GroupedKernel
from maquette.core.statistics.trees import TreeLearner
from maquette.data_specs.calorimeter.geometries import known_geometry
from maquette.data_specs.calorimeter.geometry import CartesianLayer, Geometry, Medium, PolarLayer
from maquette.domains.calorimeter.evaluate import evaluate, feature_metrics
from maquette.domains.calorimeter.metrics import distances
from maquette.domains.calorimeter.metrics.classification import classify
from maquette.domains.calorimeter.metrics.classification import tests as kinds_of_tests
from maquette.domains.calorimeter.metrics.comparison import Comparison, not_measurable
from maquette.domains.calorimeter.metrics.distances import comparable, physics_distances, sample_sizes
from maquette.domains.calorimeter.metrics.effort import EFFORTS, EffortConfig
from maquette.domains.calorimeter.metrics.features import Extractor, low_level
from maquette.domains.calorimeter.metrics.memorisation import memorisation
from maquette.domains.calorimeter.metrics.profiles import containment_radius, depths, resolves_radius, shower_maximum
from maquette.domains.calorimeter.metrics.response import response
from maquette.domains.calorimeter.metrics.verdict import verdict
from maquette.domains.calorimeter.published import published
from maquette.domains.calorimeter.sample import sample_path
from maquette.domains.plugin import Unavailable

CALOGAN = known_geometry("calogan")
Sample = tuple[np.ndarray, np.ndarray]
WANTED = {
    *("auc_low", "auc_high", "auc_trees", "jsd_low", "jsd_high", "fpd", "kpd", "line_511", "line_88"),
    *(f"separation_{what}" for what in ("layer_energy", "total_energy", "sparsity", "voxel_spectrum")),
    *(f"separation_{what}_{axis}" for what in ("centroid", "width") for axis in ("eta", "phi", "r")),
    *("response_mean_shift", "response_width_ratio", "linearity", "resolution", "t_max", "r90", "memorisation"),
}


@pytest.fixture(scope="module")
def real() -> tuple[Sample, Sample]:
    """Reference and held-out real showers of the sample in the package, 2,750 each."""
    with h5py.File(sample_path()) as file:
        x, e = file["showers"][:], file["incident_energies"][:]
    half = len(x) // 2
    return (x[:half], e[:half]), (x[half:], e[half:])


def features_of(reference: Sample, generated: Sample, geometry=CALOGAN, seed: int = 0) -> Comparison:
    sources = [TensorSource(*_tensors(sample)) for sample in (reference, generated)]
    extractor = Extractor.fit(geometry, sources[0])
    r, g = (extractor.stream(source, len(source))[0] for source in sources)
    parts = halves(len(r), len(g), np.random.default_rng(seed))
    return Comparison(r, g, parts, extractor, seed)


def _tensors(sample: Sample) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    return torch.from_numpy(sample[0]).float(), {"energy": torch.from_numpy(sample[1]).reshape(-1, 1)}


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


def smeared(x: np.ndarray) -> np.ndarray:
    """Each shower by a factor of its own, one percent wide."""
    return x * np.random.default_rng(1).normal(1, 0.01, size=(len(x), 1)).astype(np.float32)


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
    real: tuple[Sample, Sample], spoil: Callable[[np.ndarray], np.ndarray], by: set[str]
) -> None:
    reference, (x, e) = real
    found = cheap(features_of(reference, (spoil(x).astype(np.float32), e)))
    assert first(found) in by
    assert found[first(found)].significance() > 5
    assert verdict(found, 1).startswith(f"distinguishable by {first(found)} (")


def test_a_wider_response_is_measured_in_its_own_unit(real: tuple[Sample, Sample]) -> None:
    reference, (x, e) = real
    found = response(features_of(reference, (smeared(x), e)))
    ratio = np.hypot(1, 0.01 / (reference[0].sum(1) / reference[1][:, 0]).std())
    assert found["response_width_ratio"].value == pytest.approx(ratio, rel=0.15)
    assert found["resolution"].significance() > 3
    found = response(features_of(reference, (scaled(x), e)))
    assert found["linearity"].value == pytest.approx(1.0, abs=0.1)  # percent


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
def test_showers_without_a_profile_are_judged_where_profiles_can_be(spoil: Callable[[np.ndarray], np.ndarray]) -> None:
    geometry, rng = known_geometry("ds2"), np.random.default_rng(0)
    depth = np.repeat(np.arange(45) + 0.5, 144)
    hit = rng.random((160, geometry.n_voxels)) < 0.2
    x = (rng.exponential(depth**2 * np.exp(-depth / 5), hit.shape) * hit).astype(np.float32)
    e = x.sum(1) * rng.uniform(1, 1.2, 160)
    found = feature_metrics(features_of((x[:80], e[:80]), (spoil(x[80:]), e[80:]), geometry))
    assert found["t_max"].significance() == np.inf
    assert verdict(found, 40).startswith("distinguishable by ")
    if spoil is all_dead:
        assert found["r90"].significance() == np.inf
        assert "t_max (not measurable in the generated sample)" in verdict({"t_max": found["t_max"]}, 40)


def test_layers_without_cells_or_angle_can_be_judged() -> None:
    geometry, rng = known_geometry("ds1-photons"), np.random.default_rng(0)
    x = rng.exponential(size=(400, geometry.n_voxels)) * (rng.random((400, geometry.n_voxels)) < 0.3)
    e = (1.1 * x.sum(1)).astype(np.float32)
    found = feature_metrics(features_of((x[:200], e[:200]), (x[200:], e[200:]), geometry))
    assert verdict(found, 100).startswith("indistinguishable")
    assert found["separation_centroid_eta"].value > 0


def test_copies_of_training_showers_are_found(real: tuple[Sample, Sample]) -> None:
    """One shower in twenty replayed is caught, held-out showers are not, whatever else is in the training file."""
    x, e = (np.concatenate(both) for both in zip(*real, strict=True))
    seen, reference, fresh = ((x[part], e[part]) for part in (slice(2500), slice(2500, 4000), slice(4000, 5500)))
    replayed = np.arange(1500) % 20 == 0
    copies = tuple(np.where(replayed[:, None], old[:1500], new) for old, new in zip(seen, fresh, strict=True))

    def judged(sample: Sample, against: Sample | Unavailable = seen) -> Estimate:
        def voxels(side, rows):
            showers, energy = reference if side == "reference" else sample
            return low_level(showers[rows], energy[rows])

        training = against if isinstance(against, Unavailable) else TensorSource(*_tensors(against))
        return memorisation(features_of(reference, sample), voxels, training, EFFORTS["quick"])["memorisation"]

    held_out, caught = judged(fresh), judged(copies)
    assert not held_out.significance() > 3
    assert caught.significance() > 3
    assert caught.value == pytest.approx(0.06, abs=0.015)
    assert held_out.floor == caught.floor == pytest.approx(0.01, abs=0.01)
    assert "750 showers of each were compared with 2,500 of the 2,500 training showers" in caught.definition
    overlapping = judged(fresh, against=(x[:2600], e[:2600]))
    assert np.isnan(overlapping.value)
    assert "1% or more of the reference are training showers; give held-out ones" in overlapping.definition
    missing = judged(fresh, against=Unavailable("the training showers are lost"))
    assert np.isnan(missing.value)
    assert missing.definition.endswith("; not measurable: the training showers are lost.")


def by_hand(c: Comparison, column: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Separation power (mean over columns) and its floor, written out: 50 bins, two for what lies outside, halves."""

    def power(p: np.ndarray, q: np.ndarray) -> float:
        found = []
        for k in range(p.shape[1]):
            low, high = np.percentile(column[:, k].astype(np.float64), [0.1, 99.9])
            edges = np.r_[-np.inf, np.linspace(low, high, 51)[:-1], np.nextafter(high, np.inf), np.inf]
            a, b = (np.histogram(side[:, k].astype(np.float64), edges)[0] / len(side) for side in (p, q))
            assert len(a) == 52
            some = a + b > 0
            found.append(0.5 * ((a - b)[some] ** 2 / (a + b)[some]).sum())
        return float(np.mean(found))

    first, second = (column[rows] for rows in c.halves.reference)
    parts = [other[rows] for rows in c.halves.generated]
    assert len(first) == len(second) == len(column) // 2
    return np.mean([power(part, half) for part in parts for half in (first, second)]).item(), power(first, second)


def test_separations_are_what_they_are_defined_as(real: tuple[Sample, Sample]) -> None:
    """Mean over layers, E_total over E_incident, binning, figure against each half averaged, floor half to half."""
    reference, (x, e) = real
    x = x.copy()
    x[:, CALOGAN.slices[1]] *= 1.3  # one layer alone: mean, largest and sum over layers are far apart
    e = e * np.float32(1.2)
    c = features_of(reference, (x, e))
    found = feature_metrics(c)
    for name, of in {
        "separation_layer_energy": lambda f: f.layer,
        "separation_total_energy": lambda f: (f.layer.sum(1, dtype=np.float64) / f.incident)[:, None],
        "separation_incident_energy": lambda f: np.log10(f.incident)[:, None],
        "separation_sparsity": lambda f: 1 - f.occupancy,
        "separation_width_phi": lambda f: f.width_phi,
        "separation_centroid_r": lambda f: f.r,
    }.items():
        value, floor = by_hand(c, of(c.reference), of(c.generated))
        assert found[name].value == pytest.approx(value, abs=2e-4), name  # sums of float32 round at edges
        assert found[name].floor == pytest.approx(floor, abs=2e-4), name
        assert floor > 2e-3


def test_total_energy_is_judged_over_the_incident_one(real: tuple[Sample, Sample]) -> None:
    reference, (x, e) = real
    found = feature_metrics(features_of(reference, (2 * x, 2 * e)))
    assert found["separation_layer_energy"].significance() > 10
    assert found["separation_total_energy"].significance() < 3


def test_classifiers_are_the_prescribed_ones() -> None:
    """The definition that is printed is built from what is trained."""
    none: Any = None
    kinds = kinds_of_tests(none, none, n_voxels=504, effort=EFFORTS["full"], device="cpu")
    assert kinds["low"].learner == kinds["high"].learner == NetworkLearner(512, 2, 50, 1000, 2e-4, "cpu")
    assert kinds["trees"].learner == TreeLearner(iterations=200)
    assert [kind.cap for kind in kinds.values()] == [20_000] * 3
    assert (
        kinds_of_tests(none, none, n_voxels=40_500, effort=EFFORTS["full"], device="cpu")["low"].cap
        == (1 << 28) // 40_500
    )

    def rows(side, index: np.ndarray) -> np.ndarray:
        return np.random.default_rng(len(side)).normal(size=(100, 2)).astype(np.float32)[index]

    kind = replace(
        kinds["low"], inputs=rows, learner=NetworkLearner(hidden=3, layers=1, epochs=2, batch_size=10, lr=0.5)
    )
    parts = halves(100, 100, np.random.default_rng(0))
    found, _ = classify({"low": kind}, parts, EFFORTS["full"], seed=0, progress=lambda *_: None)
    said = found["auc_low"].definition
    assert (
        "a network with 1 hidden layers of 3, Adam 0.5, batch 10, 2 epochs on the voxels / E_incident and log10" in said
    )
    assert "5-fold cross-validation, 50 showers a side" in said


def test_frechet_samples_are_those_of_the_source() -> None:
    assert sample_sizes(50_000) == sample_sizes(100_000) == (20_000, 50_000)
    assert comparable(50_000)
    assert sample_sizes(49_999) == (19_999, 49_999)
    assert not comparable(49_999)


def test_distances_use_every_feature_that_is_not_constant(real: tuple[Sample, Sample]) -> None:
    (reference, e), (x, f) = ((x[:600].copy(), e[:600]) for x, e in real)
    layer = CALOGAN.slices[2]
    reference[:, layer] = 0
    same, rare = reference.copy(), x[:, layer].argmax()
    reference[::200, layer.start] = 50.0  # half a percent of the showers
    effort = EFFORTS["smoke"]
    found = [physics_distances(features_of((r, e), (x, f)), effort) for r in (same, reference)]
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
    blind = physics_distances(features_of((nothing, e), (nothing, e)), effort)
    assert np.isnan(blind["fpd"].value)
    assert "all reference showers are the same" in blind["kpd"].definition


def kernel_distance(r: list, g: list, effort: EffortConfig, seed: int = 0) -> Estimate:
    n, none = len(r[0]), cast(Any, None)
    parts = Halves((np.arange(n), np.arange(n)), tuple(np.arange(n) for _ in g))
    return distances._kernel(Comparison(none, none, parts, none, seed), effort, r, g)


def test_kernel_batches_are_those_of_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten of 5,000 a side at random, each shower once at most, always in the group that its row gives it."""
    seen: list[list[np.ndarray]] = []

    class Watched(GroupedKernel):
        def __init__(self, groups) -> None:
            seen.append([group[:, 0] for group in groups])
            super().__init__([group[:3] for group in groups])  # a few rows are enough

    monkeypatch.setattr(distances, "GroupedKernel", Watched)
    rows = np.arange(6000, dtype=np.float64)[:, None] / 6000
    said = kernel_distance([rows, rows + 1], [rows + 2], EFFORTS["full"]).definition
    assert "median of 10 random batches of 5,000 showers, none twice in a batch" in said
    assert len(seen) == 10
    for part in range(3):
        batches = [groups[20 * part : 20 * part + 20] for groups in seen]
        picked = [np.sort(np.concatenate(groups)) for groups in batches]
        assert all(len(np.unique(batch)) == 5000 for batch in picked)
        assert not np.array_equal(picked[0], picked[1])
        for groups in batches:
            assert all(np.ptp(group) < 300 / 6000 for group in groups)
    seen.clear()
    assert (
        "of all 4,000 showers as one batch"
        in kernel_distance([rows[:4000]] * 2, [rows[:4000]], EFFORTS["full"]).definition
    )
    assert len(seen) == 1


@pytest.mark.parametrize(("n", "shift"), [(60, 0.0), (60, 0.5), (400, 0.5)])
def test_error_of_the_kernel_distance_is_its_spread(monkeypatch: pytest.MonkeyPatch, n: int, shift: float) -> None:
    """Also where batches (of 50) overlap nearly wholly."""
    monkeypatch.setattr(distances, "KERNEL_BATCH", 50)
    values, claimed = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        r, g = ([rng.normal(m, 1, size=(n, 2)) for _ in range(2)] for m in (0.0, shift))
        found = kernel_distance(r, g, EFFORTS["full"], seed)
        values.append(found.value)
        claimed.append(found.stderr)
    assert 0.6 < np.sqrt(np.mean(np.square(claimed))) / np.std(values) < 1.8
    if not shift:
        assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(40)


def test_pulls_of_every_metric_between_random_parts(real: tuple[Sample, Sample]) -> None:
    """Real showers against real ones, parted at random: excess over the floor is about a standard normal."""
    x, e = (np.concatenate(both) for both in zip(*real, strict=True))
    pulls: dict[str, list[float]] = {}
    for seed in range(15):
        order = np.random.default_rng(seed).permutation(len(x))[:1600]
        r, g = order[:800], order[800:]
        c = features_of((x[r], e[r]), (x[g], e[g]), seed=seed)
        found = cheap(c) | physics_distances(c, EFFORTS["quick"])
        for name, estimate in found.items():
            pulls.setdefault(name, []).append(estimate.significance())
    for name, values in pulls.items():
        if name not in {"t_max", "r90"}:
            assert 0.3 < np.sqrt(np.mean(np.square(values))) < 1.7, name
            assert max(values) < 4, name


def test_polar_showers_real_against_real_and_narrowed(data_folder) -> None:
    geometry = known_geometry("ds2")
    with h5py.File(data_folder / "calorimeter" / "geant4_ds2_eminus_train.h5") as file:
        x, e = file["showers"][:1600], file["incident_energies"][:1600]
    found = cheap(features_of((x[:800], e[:800]), (x[800:], e[800:]), geometry))
    assert verdict(found, 400).startswith("indistinguishable")
    assert found["t_max"].value == pytest.approx(4.8, abs=0.2)
    assert 0.9 < found["r90"].value < 1.3
    assert np.isnan(found["line_511"].value)  # silicon deposits over a sampling fraction

    narrow = x[800:].reshape(800, 45, 16, 9).copy()
    narrow[..., 0] += narrow[..., 2:].sum(-1)
    narrow[..., 2:] = 0
    spoilt = cheap(features_of((x[:800], e[:800]), (narrow.reshape(800, -1), e[800:]), geometry))
    assert spoilt["r90"].significance() > 10
    assert spoilt["separation_width_r"].significance() > 10
    turned = np.roll(x[800:].reshape(800, 45, 16, 9), 5, axis=2).reshape(800, -1)  # a symmetry: nothing to find
    found = cheap(features_of((x[:800], e[:800]), (turned, e[800:]), geometry))
    assert verdict(found, 400).startswith("indistinguishable")


def test_shower_maximum_of_a_gamma_function() -> None:
    edges = np.linspace(0, 25, 46)
    t = np.linspace(0, 25, 45 * 200 + 1)
    fine = t**3.5 * np.exp(-0.5 * t)
    middle = (fine[1:] + fine[:-1]) / 2
    assert shower_maximum(middle.reshape(45, -1).sum(1), edges) == pytest.approx(7.0, abs=0.01)


def test_containment_radius_interpolates() -> None:
    assert containment_radius([8, 1, 1], [0, 1, 2, 3]) == pytest.approx(2.0)
    assert containment_radius([1, 1], [0, 10, 20], fraction=0.75) == pytest.approx(15)


@pytest.mark.parametrize("energy", [np.zeros(5), [0, 3, 0, 0, 0]])
def test_profiles_that_have_no_shape_are_not_measured(energy: np.ndarray) -> None:
    assert np.isnan(shower_maximum(energy, np.arange(6)))
    assert np.isnan(containment_radius(energy, np.arange(6))) == (not np.any(energy))


def test_only_fine_geometries_measure_depth_and_radius() -> None:
    assert depths(CALOGAN) is None
    assert not resolves_radius(CALOGAN)
    edges = depths(known_geometry("ds2"))
    assert edges is not None
    assert len(edges) == 46
    assert resolves_radius(known_geometry("ds2"))


@pytest.mark.parametrize(
    ("layers", "step", "deep", "wide"),
    [(10, 0.49, True, True), (9, 0.49, False, False), (10, 0.51, True, False), (45, 1.0, True, False)],
)
def test_ten_layers_and_cells_under_half_a_moliere_radius(layers: int, step: float, deep: bool, wide: bool) -> None:
    """The coarsest cell decides, in whatever layer and direction it lies."""
    fine, coarse = (0.0, 2.0, 4.0), (0.0, 2.0, 2.0 + 20 * step)
    stacks = (
        [PolarLayer(k, coarse if k == 3 else fine, 4) for k in range(layers)],
        [CartesianLayer(k, fine, coarse if k == 3 else fine) for k in range(layers)],
    )
    for stack in stacks:
        geometry = Geometry("stack", tuple(stack), medium=Medium(10.0, 20.0, layer_depth=5.0))
        assert (depths(geometry) is not None) == deep
        assert resolves_radius(geometry) == wide
        assert not resolves_radius(replace(geometry, medium=None))


def test_verdict_names_the_worst_first() -> None:
    def estimate(value: float, better="lower") -> Estimate:
        return Estimate(value, 1.0, 0.0, 10, "", better, "A figure.", 0.0)

    both = {"a": estimate(4), "b": estimate(9), "c": estimate(2), "d": estimate(-5, "floor")}
    both["e"] = not_measurable("Something", "there is none")
    text = verdict(both, 1234)
    assert text == "distinguishable by b (9.0 sigma), d (5.0 sigma), a (4.0 sigma) at n = 1,234"
    many = {name: estimate(10 - i) for i, name in enumerate("abcdefg")}
    assert "e (6.0 sigma) and 2 more at n" in verdict(many, 9)
    assert verdict({"a": estimate(3.01)}, 5).startswith("distinguishable by a (3.0 sigma)")
    assert verdict({"a": estimate(2.99)}, 5).startswith("indistinguishable at n = 5")
    assert "all 2 metrics" in verdict({"c": both["c"], "a": estimate(3), "e": both["e"]}, 5)


@pytest.mark.parametrize("name", ["ds1-photons", "ds1-pions", "ds2", "ds3"])
def test_published_rows_of_a_data_set(name: str) -> None:
    (table,) = published(name)
    assert table.rows[0][0] == "GEANT4"
    assert len(table.rows) > 10
    assert {len(row) for row in table.rows} == {len(table.columns)}
    parameters = [row[table.columns.index("parameters")] for row in table.rows]
    assert all(re.fullmatch(r"([1-9][\d,]*|0)(\.\d+)? M|", one) for one in parameters)
    assert len(set(parameters)) > 5
    assert not any("e+" in cell for row in table.rows for cell in row)
    assert "unit" in table.note
    for difference in ("three hidden layers of 512 in float64 (here two, in float32)", "sees no occupancies"):
        assert difference in table.note


def test_own_figures_stand_above_the_published_ones() -> None:
    own = {
        "auc_low": Estimate(0.61234, 0.01, 0.4951, 9, "", "lower", "x."),
        "r90": Estimate(1, 1, 1, 9, "", "floor", "x."),
    }
    own["kpd"] = Estimate(np.nan, np.nan, np.nan, 0, "", "lower", "x.")
    (table,) = published("ds2", own)
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [row["model"] for row in rows[:3]] == ["these showers", "their reference, half to half", "GEANT4"]
    assert [row["auc_low"] for row in rows[:2]] == ["0.6123", "0.4951"]
    assert [row["kpd"] for row in rows[:2]] == ["", ""]


def test_other_geometries_get_rows_that_say_so() -> None:
    (table,) = published("calogan")
    assert 'No data set of the challenge has the geometry "calogan"' in table.note


def test_a_part_of_a_sorted_file_speaks_for_all_of_it(real: tuple[Sample, Sample]) -> None:
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
    with pytest.raises(SampleError, match="generated sample holds no showers"):
        evaluate(real[0], (real[1][0][:0], real[1][1][:0]), CALOGAN)
    with pytest.raises(SampleError, match="found 2750 and 5"):
        evaluate(real[0], (real[1][0][:5], real[1][1][:5]), CALOGAN)
