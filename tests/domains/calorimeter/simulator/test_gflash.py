"""The embedded simulator against its formulas, full transport and known values."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from maquette.core.config import parse
from maquette.core.data import Batch
from maquette.core.errors import ConfigError
from maquette.core.noise import KeyedNoise
from maquette.data_specs.calorimeter.geometry import CartesianLayer, Geometry, Medium, PolarLayer
from maquette.data_specs.calorimeter.geometry_json import geometry_from_json
from maquette.domains.calorimeter.batches import deposits, named_conditions
from maquette.domains.calorimeter.dataset import ShowerDataset, ShowerFileWriter
from maquette.domains.calorimeter.metrics.profiles import containment_radius, depths, shower_maximum
from maquette.domains.calorimeter.simulator.gflash import Gflash, GflashConfig, gamma_variates
from maquette.domains.calorimeter.simulator.media import CALORIMETERS
from maquette.domains.calorimeter.simulator.parametrisation import LOWEST_ALPHA, Parametrisation
from scipy import stats
from torch import Tensor

CRITICAL_ENERGY = 9.64  # MeV, lead tungstate (Particle Data Group)


def simulated(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Showers and conditions by name."""
    return deposits(batch.x), named_conditions(batch.condition)


def cylinder(name: str, rings: int = 50, radius: float = 5, depth: float = 30) -> Geometry:
    """Half a radiation length per layer; radius in Moliere radii."""
    material = CALORIMETERS[name].material
    edges = tuple((radius * material.moliere_radius * np.linspace(0, 1, rings + 1)).tolist())
    medium = Medium(material.radiation_length, material.moliere_radius, material.radiation_length / 2)
    return Geometry(name, tuple(PolarLayer(i, edges, 1) for i in range(int(2 * depth))), medium=medium)


@pytest.mark.parametrize("shape", [0.03, 0.4, 1.0, 1.7, 30.0])
def test_gamma_variates_follow_the_gamma_distribution(shape: float) -> None:
    noise = KeyedNoise(3, torch.arange(2000))
    drawn = gamma_variates(torch.full((2000, 5), shape), noise).flatten().numpy()
    quantiles = np.array([0.2, 0.4, 0.6, 0.8, 0.95])
    below = (drawn[:, None] < stats.gamma(shape).ppf(quantiles)).mean(0)
    np.testing.assert_allclose(below, quantiles, atol=4 * 0.5 / 100)
    assert drawn.mean() == pytest.approx(shape, abs=5 * math.sqrt(shape / 10_000))


def test_parameters_are_those_of_the_formulas() -> None:
    """ln T and ln alpha: means, widths and correlation at 10 GeV in lead tungstate."""
    calorimeter = CALORIMETERS["lead-tungstate"]
    energy = torch.full((40_000, 1), 10.0)
    drawn = Parametrisation(calorimeter).draw(energy, KeyedNoise(1, torch.arange(40_000)).normal("z", (4, 2)))
    log_t, log_a = drawn.maximum[:, 0].log(), drawn.alpha[:, 0].log()
    log_y = math.log(1e4 / calorimeter.material.critical_energy)
    assert log_t.mean().item() == pytest.approx(math.log(log_y - 0.812), abs=3e-3)
    assert log_t.std().item() == pytest.approx(1 / (-1.4 + 1.26 * log_y), rel=0.02)
    assert log_a.mean().item() == pytest.approx(math.log(0.81 + (0.458 + 2.26 / 68.36) * log_y), abs=5e-3)
    assert log_a.std().item() == pytest.approx(1 / (-0.58 + 0.86 * log_y), rel=0.02)
    correlation = torch.corrcoef(torch.stack((log_t, log_a)))[0, 1].item()
    assert correlation == pytest.approx(0.705 - 0.023 * log_y, abs=0.02)


def test_profiles_without_a_maximum_are_drawn_again() -> None:
    energy = torch.full((20_000, 1), 0.5)
    formulas = Parametrisation(CALORIMETERS["lead-tungstate"])
    once = formulas.draw(energy, KeyedNoise(1, torch.arange(20_000)).normal("z", (1, 2)))
    often = formulas.draw(energy, KeyedNoise(1, torch.arange(20_000)).normal("z", (12, 2)))
    assert (once.alpha <= LOWEST_ALPHA).float().mean() > 0.001
    assert (often.alpha > LOWEST_ALPHA).all()


@pytest.mark.parametrize(("particle", "offset"), [("e", -0.5), ("gamma", 0.5)])
@pytest.mark.parametrize("energy", [1.0, 10.0])
def test_lead_tungstate_has_the_known_maximum_and_radius(particle: str, offset: float, energy: float) -> None:
    geometry = cylinder("lead-tungstate")
    simulator = Gflash(geometry, CALORIMETERS["lead-tungstate"], particle, (energy, energy))
    showers = simulated(simulator.simulate(range(1500), seed=1))[0].view(1500, 60, 50).mean(0)
    edges = depths(geometry)
    assert edges is not None
    expected = math.log(1000 * energy / CRITICAL_ENERGY) + offset
    assert shower_maximum(showers.sum(1), edges) == pytest.approx(expected, abs=0.35)
    assert 1.0 < containment_radius(showers.sum(0), np.linspace(0, 5, 51)) < 1.3


@pytest.mark.parametrize("name", ["lead-tungstate", "tungsten-silicon", "lead-argon"])
def test_a_block_that_is_large_enough_holds_the_energy(name: str) -> None:
    material = CALORIMETERS[name].material
    side, z = 5 * material.moliere_radius, (0.0, 30 * material.radiation_length)
    layer = CartesianLayer(0, (-side, 0.0, side), (-side, 0.0, side))
    medium = Medium(material.radiation_length, material.moliere_radius)
    block = Geometry(name, (layer,), medium=medium, z_edges=z)
    showers, condition = simulated(Gflash(block, CALORIMETERS[name], "e", (1.0, 10.0)).simulate(range(1500), seed=1))
    assert (showers.sum() / condition["energy"].sum()).item() > 0.99
    assert (showers.sum(1) <= condition["energy"][:, 0] * 1.0001).all()
    quarters = showers.mean(0) / showers.mean(0).sum()
    assert (quarters - 0.25).abs().max() < 0.01


@pytest.fixture(scope="module")
def transport(data_folder: Path) -> ShowerDataset:
    return ShowerDataset(data_folder / "calorimeter" / "geant4_ds2_eminus_train.h5").rows(0, 9000)


@pytest.mark.parametrize(("energy", "width"), [(1.1, 0.1), (2.0, 0.2), (5.0, 0.5), (9.3, 0.6)])
def test_tungsten_silicon_agrees_with_full_transport(transport: ShowerDataset, energy: float, width: float) -> None:
    """Maximum within 0.2 X0, resolution of the silicon signal within 10 %."""
    whole = transport.fetch(torch.arange(len(transport)))
    assert isinstance(whole.x, torch.Tensor)
    assert isinstance(whole.condition, dict)
    incident = whole.condition["energy"][:, 0]
    near = (incident - 1000 * energy).abs() < 1000 * width
    simulator = GflashConfig(geometry="ds2", energy=(energy - width, energy + width)).build()
    showers, condition = simulated(simulator.simulate(range(2500), seed=1))
    edges = depths(simulator.geometry)
    assert edges is not None

    def maximum(showers: torch.Tensor) -> float:
        return shower_maximum(showers.view(-1, 45, 144).sum(2).mean(0), edges)

    def resolution(showers: torch.Tensor, energies: torch.Tensor) -> float:
        ratio = showers.sum(1) / energies
        return (ratio.std() / ratio.mean()).item()

    assert maximum(showers) == pytest.approx(maximum(whole.x[near]), abs=0.2)
    expected = resolution(whole.x[near], incident[near])
    assert resolution(showers, condition["energy"][:, 0]) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(("particle", "file"), [("e", "eplus"), ("gamma", "gamma")])
def test_lead_argon_shares_its_energy_among_layers_as_full_transport(
    data_folder: Path, particle: str, file: str
) -> None:
    real = ShowerDataset(data_folder / "calorimeter" / f"geant4_calogan_{file}_train.h5").rows(0, 6000)
    batch = real.fetch(torch.arange(6000))
    assert isinstance(batch.x, torch.Tensor)
    showers, _ = simulated(parse(GflashConfig, {"particle": particle}).build().simulate(range(6000), seed=1))
    parts = real.geometry.slices[:2]
    theirs = torch.stack([batch.x[:, part].sum() for part in parts]) / batch.x.sum()
    ours = torch.stack([showers[:, part].sum() for part in parts]) / showers.sum()
    assert (ours - theirs).abs().max() < 0.06


def test_a_shower_depends_on_its_index_and_the_seed_alone() -> None:
    simulator = GflashConfig(geometry="ds2").build()
    showers, condition = simulated(simulator.simulate(range(300), seed=5))
    some, their_condition = simulated(simulator.simulate(torch.tensor([299, 7, 120]), seed=5))
    torch.testing.assert_close(some, showers[[299, 7, 120]], rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(their_condition["energy"], condition["energy"][[299, 7, 120]], rtol=0, atol=0)
    assert not torch.equal(simulated(simulator.simulate(range(300), seed=6))[0], showers)


def test_energies_are_log_uniform_and_the_readout_threshold_holds() -> None:
    showers, condition = simulated(GflashConfig(geometry="ds2", energy=(1, 100)).build().simulate(range(500), seed=5))
    share = torch.log(condition["energy"][:, 0] / 1000) / math.log(100)
    assert stats.kstest(share.numpy(), "uniform").pvalue > 1e-3
    assert showers[showers > 0].min() >= 15.15e-3


def test_showers_meet_the_data_spec(tmp_path: Path) -> None:
    simulator = GflashConfig(particle="gamma").build()
    writer = ShowerFileWriter(tmp_path / "a.h5", simulator.description, {"seed": 1}, 200)
    writer.append(simulator.simulate(range(200), seed=1))
    writer.close()
    data = ShowerDataset(tmp_path / "a.h5")
    assert geometry_from_json(simulator.description["geometry"]) == data.geometry
    assert dict(data.summary())["engine"].startswith("parametrised: GFLASH")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"energy": [0.2, 1]}, "0.5 <= lowest <= highest"),
        ({"energy": [5, 1]}, "0.5 <= lowest <= highest"),
        ({"energy": [1000, 10_000]}, "in GeV (not MeV, as in files), 0.5 <= lowest <= highest <= 200"),
        ({"geometry": "ds4"}, "Did you mean"),
        ({"geometry": "ds1-photons"}, "give the material of ds1-photons"),
        ({"geometry": "ds1-photons", "calorimeter": "lead-argon"}, "layer_depth=MM"),
        ({"particle": "pion"}, "particle"),
        ({"enregy": [1, 2]}, 'no such key. Did you mean "energy"?'),
    ],
)
def test_what_cannot_be_simulated_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(GflashConfig, options).build()
    assert words in str(caught.value)


def test_any_geometry_can_be_filled() -> None:
    options = {"geometry": "ds1-photons", "calorimeter": "lead-argon", "layer_depth": 30}
    showers, condition = simulated(parse(GflashConfig, options).build().simulate(range(100), seed=1))
    assert showers.shape == (100, 368)
    assert 0.02 < (showers.sum() / condition["energy"].sum()).item() < 1
