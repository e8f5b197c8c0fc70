"""The codec: what goes in comes out, sums and counts are exact, and the volume is that of the map."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from maquette.core.data import Batch, TensorSource
from maquette.core.noise import KeyedNoise, TapeNoise
from maquette.data_specs.calorimeter.geometries import known_geometry
from maquette.data_specs.calorimeter.geometry import LEAST_DEPOSIT, CartesianLayer, Geometry, PolarLayer
from maquette.data_specs.calorimeter.geometry_json import geometry_to_json
from maquette.data_specs.errors import DataError
from maquette.domains.calorimeter.codec.codec import FEWEST, PARTICLES, ShowerCodec, ShowerCodecConfig
from maquette.domains.calorimeter.codec.symmetries import RandomSymmetry, symmetries
from maquette.domains.calorimeter.dataset import ShowerDataset
from maquette.domains.calorimeter.sample import sample_path

CUT = 0.1
MIXED = Geometry(
    "mixed",
    (
        CartesianLayer(0, (-1.0, 0.0, 1.0), (-1.0, 1.0)),
        PolarLayer(1, (0.0,), 1),
        PolarLayer(2, (0.0, 1.0), 3),
        CartesianLayer(3, (-1.0, 1.0), (-1.0, 0.0, 1.0)),
    ),
    threshold=CUT,
)
RINGS = Geometry("rings", tuple(PolarLayer(i, (0.0, 1.0, 2.0), 4) for i in range(3)), threshold=CUT)


def showers(geometry: Geometry, n: int, seed: int = 3) -> TensorSource:
    """Random showers in which voxels and whole layers are empty now and then, the first with none at all."""
    torch.manual_seed(seed)
    x = torch.rand(n, geometry.n_voxels).mul(4).exp() * 0.2
    x *= torch.rand_like(x) < 0.7
    for i in geometry.active:
        x[:, geometry.slices[i]] *= (torch.rand(n, 1) < 0.7).float()
    x[0] = 0
    return TensorSource(x, {"energy": (x.sum(1, keepdim=True) * (1.2 + torch.rand(n, 1))).clamp(min=5.0)})


def fitted(geometry: Geometry, source: TensorSource, **conditions: int) -> ShowerCodec:
    description = {"geometry": geometry_to_json(geometry), "conditions": {"energy": 1, **conditions}}
    codec = ShowerCodecConfig().build(description)
    codec.fit(source)
    return codec


@pytest.mark.parametrize("geometry", [MIXED, RINGS], ids=lambda geometry: geometry.name)
def test_decoding_undoes_encoding(geometry: Geometry) -> None:
    source = showers(geometry, 300)
    codec = fitted(geometry, source)
    batch = source.fetch(torch.arange(300))
    encoded = codec.encode(batch, KeyedNoise(1, batch.index))
    cut = torch.where(batch.x >= CUT, batch.x, 0.0)
    torch.testing.assert_close(codec.decode(encoded.x, batch.condition), cut, rtol=2e-4, atol=1e-4)


def test_real_showers_survive() -> None:
    data = ShowerDataset(sample_path()).rows(0, 1000)
    codec = ShowerCodecConfig().build(data.description)
    codec.fit(data)
    batch = data.fetch(torch.arange(1000))
    encoded = codec.encode(batch, KeyedNoise(1, batch.index))
    back = codec.decode(encoded.x, batch.condition)
    assert ((back > 0) == (batch.x > 0)).float().mean() > 1 - 1e-5
    torch.testing.assert_close(back.sum(1), batch.x.sum(1), rtol=1e-5, atol=1e-3)
    everything = torch.cat([part.flatten(1) for part in encoded.x.values()], dim=1)
    # each coordinate is close to standard normal by itself; flags of exotic layers apart
    assert everything.mean().abs() < 0.02
    assert 0.95 < everything.std() < 1.05


@pytest.mark.parametrize("geometry", [MIXED, RINGS], ids=lambda geometry: geometry.name)
def test_any_coordinates_decode_to_exact_sums_and_counts(geometry: Geometry) -> None:
    """Also those that no shower has: what a network may come up with."""
    source = showers(geometry, 300)
    codec = fitted(geometry, source)
    noise = KeyedNoise(5, torch.arange(400))
    parts = {name: 1.5 * noise.normal(name, part.shape) for name, part in codec.space.parts.items()}
    energy = torch.full((400, 1), 60.0)
    x = codec.decode(parts, {"energy": energy})
    assert x.isfinite().all()
    hit = x > 0
    assert (x[hit] >= CUT * (1 - 1e-5)).all()
    table = codec.padding.split(x)
    ratios, heights = parts["layers"].split(codec.padding.layers, dim=1)
    counts = torch.minimum((heights[:, :, None] >= codec.count_edges[:, 1:-1]).sum(2), codec.padding.sizes)
    energies = codec._energies(ratios * codec.layer_scale[1] + codec.layer_scale[0], counts > 0, energy)
    bright = energies > counts * CUT * 1.01  # fainter layers must lose hits
    assert ((table > 0).sum(2) == counts)[bright].all()
    kept = (table > 0).any(2)
    torch.testing.assert_close(table.sum(2)[kept], energies[kept], rtol=1e-4, atol=1e-4)
    assert (energies[~kept & (counts > 0)] < CUT * 1.001).all()
    assert (table.sum(2)[counts == 0] == 0).all()


@pytest.mark.parametrize("row", [1, 5, 17, 40])
def test_volume_is_the_log_determinant_of_the_map_less_the_density_of_its_noise(row: int) -> None:
    source = showers(MIXED, 400)
    codec = fitted(MIXED, source).double()
    layers = codec.padding.layers
    x = source.x[row].double()
    x = torch.where(x >= CUT, x, torch.zeros_like(x))
    condition = {"energy": source.condition["energy"][row : row + 1].double()}
    hit = x > 0
    table_hit = codec.padding.split(hit[None].double())[0] > 0
    layer_hit = table_hit.any(1)
    energies = codec.padding.split(x[None])[0].sum(1)
    behind = torch.cat((energies.flip(0).cumsum(0).flip(0)[1:], torch.zeros(1)))
    undefined = torch.cat((energies.sum()[None] == 0, ~((energies > 0) & (behind > 0))[:-1]))
    empty = ~hit
    sizes = [int(hit.sum()), int(layer_hit.sum()), int(undefined.sum()), layers, int(empty.sum())]

    def forward(theta: torch.Tensor) -> torch.Tensor:
        deposits, gauge, filling, count, void = theta.split(sizes)
        tape = {
            "gauge": torch.zeros(1, layers, dtype=torch.float64).masked_scatter(layer_hit[None], gauge),
            "ratio": torch.zeros(1, layers, dtype=torch.float64).masked_scatter(undefined[None], filling),
            "count": count[None],
            "empty": torch.full((1, len(x)), 0.5, dtype=torch.float64).masked_scatter(empty[None], void),
        }
        shower = torch.zeros(1, len(x), dtype=torch.float64).masked_scatter(hit[None], deposits)
        batch = Batch(shower, condition, torch.zeros(1, dtype=torch.int64))
        encoded, forward.volume = codec.encode_with_volume(batch, TapeNoise(tape))
        return torch.cat([part.flatten() for part in encoded.x.values()])

    torch.manual_seed(row)
    noise = [torch.randn(sizes[1]), torch.randn(sizes[2]), torch.rand(sizes[3]), torch.rand(sizes[4])]
    theta = torch.cat((x[hit], *[part.double() for part in noise]))
    jacobian = torch.autograd.functional.jacobian(forward, theta)
    assert jacobian.shape[0] == jacobian.shape[1]
    normals = torch.cat(noise[:2]).double()
    density = (-0.5 * normals.square() - 0.5 * math.log(2 * math.pi)).sum()
    assert forward.volume.item() == pytest.approx((torch.linalg.slogdet(jacobian)[1] - density).item(), abs=1e-6)


def test_particles_and_angles_condition_by_the_same_mechanism() -> None:
    source = showers(RINGS, 200)
    particle = torch.where(torch.arange(200)[:, None] % 2 == 0, 11, 22)
    angle = torch.rand(200, 2)
    rich = TensorSource(source.x, {**source.condition, "particle": particle, "angle": angle})
    codec = fitted(RINGS, rich, particle=1, angle=2)
    encoded = codec.encode_condition(rich.condition)
    assert set(encoded) == {"energy", "particle", "angle"}
    assert encoded["particle"][:2, 0].tolist() == [PARTICLES.index(11), PARTICLES.index(22)]
    drawn = codec.draw_condition(KeyedNoise(1, torch.arange(64)))
    assert set(drawn["particle"].flatten().tolist()) == {11, 22}
    assert drawn["angle"].shape == (64, 2)
    with pytest.raises(DataError, match="Unknown particle number 99"):
        codec.encode_condition({**rich.condition, "particle": torch.full((200, 1), 99)})


def test_voxels_that_training_never_hit_stay_empty_and_can_be_scored() -> None:
    source = showers(RINGS, 300)
    source.x[:, 3] = 0
    codec = fitted(RINGS, source)
    noise = KeyedNoise(5, torch.arange(500))
    parts = {name: noise.normal(name, part.shape) for name, part in codec.space.parts.items()}
    assert (codec.decode(parts, {"energy": torch.full((500, 1), 60.0)})[:, 3] > 0).float().mean() < 0.01
    strange = Batch(source.x.roll(1, dims=1), source.condition, torch.arange(300))  # hits voxel 3
    assert codec.encode_with_volume(strange, KeyedNoise(1, strange.index))[1].isfinite().all()


def test_conditions_are_drawn_from_the_law_of_training() -> None:
    source = showers(RINGS, 500)
    codec = fitted(RINGS, source)
    drawn = codec.draw_condition(KeyedNoise(1, torch.arange(4000)))["energy"]
    assert drawn.min() >= source.condition["energy"].min()
    assert drawn.max() <= source.condition["energy"].max()
    assert drawn.log().mean().item() == pytest.approx(source.condition["energy"].log().mean().item(), abs=0.06)


def test_showers_without_a_hit_are_refused() -> None:
    with pytest.raises(DataError, match="no deposit above"):
        fitted(RINGS, TensorSource(torch.zeros(30, RINGS.n_voxels), {"energy": torch.ones(30, 1)}))


@pytest.mark.parametrize("n", [1, FEWEST - 1])
def test_too_few_showers_are_refused(n: int) -> None:
    with pytest.raises(DataError, match=rf"at least {FEWEST} showers to train on, found {n};"):
        fitted(RINGS, showers(RINGS, n))


def test_deposits_of_an_ideal_engine_survive_without_a_threshold() -> None:
    """Down to 1e-23 MeV; under 10 eV they count as none."""
    data = ShowerDataset(sample_path()).rows(0, 400)
    geometry = replace(data.geometry, threshold=0.0)
    x, condition = data.fetch(torch.arange(400)).x, data.fetch(torch.arange(400)).condition
    torch.manual_seed(0)
    x = torch.where((x == 0) & (torch.rand_like(x) < 0.05), 10 ** (torch.rand_like(x) * 20 - 23), x)
    source = TensorSource(x, condition)
    codec = fitted(geometry, source)
    assert LEAST_DEPOSIT <= codec.cut.item() < 2 * LEAST_DEPOSIT
    batch = source.fetch(torch.arange(400))
    back = codec.decode(codec.encode(batch, KeyedNoise(1, batch.index)).x, condition)
    assert back.isfinite().all()
    torch.testing.assert_close(back, torch.where(x >= codec.cut, x, 0.0), rtol=2e-3, atol=1e-2)
    torch.testing.assert_close(back.sum(1), x.sum(1), rtol=1e-5, atol=1e-3)
    noise = KeyedNoise(5, batch.index)
    anything = {name: 1.5 * noise.normal(name, part.shape) for name, part in codec.space.parts.items()}
    assert codec.decode(anything, condition).isfinite().all()


def test_hit_counts_beyond_those_of_training_are_rare_and_near_but_not_impossible() -> None:
    geometry = Geometry("fine", (PolarLayer(0, tuple(map(float, range(11))), 20),) * 3, threshold=CUT)
    torch.manual_seed(0)
    n = 1000
    counts = torch.randint(60, 81, (2 * n, 3))
    rank = torch.rand(2 * n, 3, 200).argsort(2).argsort(2)
    x = ((rank < counts[:, :, None]) * (0.2 + torch.rand(2 * n, 3, 200))).flatten(1)
    energy = {"energy": 1.5 * x.sum(1, keepdim=True)}
    codec = fitted(geometry, TensorSource(x[:n], {"energy": energy["energy"][:n]}))
    edges = torch.special.ndtr(codec.count_edges.double())
    chances = edges.diff(dim=1)  # of each count
    seen = torch.zeros_like(chances, dtype=torch.bool)
    seen.scatter_(1, counts[:n].T, True)
    assert (chances[seen].reshape(3, -1).sum(1) > 1 - 1 / n).all()
    assert (chances[:, [59, 81]] > 0.1 / n).all()
    assert (chances[:, 91:].sum(1) < 1e-2 / n).all()  # far from all that was seen
    assert (chances[:, 91:150] > 1e-8 / n).all()
    few = Batch(x.clone(), energy, torch.arange(2 * n))
    few.x[0, 20:200] = 0  # a layer with fewer hits than any in training
    held = codec.encode_with_volume(few, KeyedNoise(1, few.index))[1]
    assert held.isfinite().all()


def test_showers_that_the_map_does_not_reach_have_no_density() -> None:
    source = showers(RINGS, 300)
    codec = fitted(RINGS, source)
    batch = source.fetch(torch.arange(1, 300))
    loud = Batch(10 * batch.x, batch.condition, batch.index)
    beyond = loud.x.sum(1) >= codec.excess * batch.condition["energy"][:, 0]
    assert beyond.sum() > 100
    volume = codec.encode_with_volume(loud, KeyedNoise(1, loud.index))[1]
    assert ((volume == -math.inf) == beyond).all()
    assert codec.encode_with_volume(batch, KeyedNoise(1, batch.index))[1].isfinite().all()


SQUARES = CartesianLayer(0, (-2.0, -1.0, 0.0, 1.0, 2.0), (-3.0, -1.0, 1.0, 3.0))
SECTORS = PolarLayer(1, (0.0, 1.0, 2.0), 16)


@pytest.mark.parametrize(
    ("geometry", "number"),
    [
        (known_geometry("calogan"), 4),
        (known_geometry("ds1-photons"), 20),
        (known_geometry("ds2"), 32),
        (RINGS, 8),
        (MIXED, 2),  # three sectors have no half turn
        (Geometry("both", (SQUARES, SECTORS)), 4),
        (Geometry("lopsided", (replace(SQUARES, x_edges=(-1.0, 0.0, 3.0)), SECTORS)), 2),
        (Geometry("lopsided in both", (replace(SQUARES, x_edges=(0.0, 1.0, 3.0), y_edges=(0.0, 1.0)), SECTORS)), 1),
        (Geometry("few sectors", (SECTORS, PolarLayer(2, (0.0, 1.0), 10))), 4),
    ],
    ids=lambda value: value.name if isinstance(value, Geometry) else str(value),
)
def test_symmetries_are_isometries_of_the_whole_stack(geometry: Geometry, number: int) -> None:
    """One orthogonal map of the plane moves the energy-weighted centroids of all layers; the maps form a group."""
    table = symmetries(geometry)
    assert len(table) == number
    assert (table[0] == torch.arange(geometry.n_voxels)).all()
    members = {tuple(row.tolist()) for row in table}
    assert all(tuple(a[b].tolist()) in members for a in table for b in table)
    x = torch.rand(20, geometry.n_voxels, dtype=torch.float64)
    before = centroids(geometry, x)
    for row in table:
        after = centroids(geometry, x[:, row])
        u, _, v = torch.linalg.svd(before.T @ after)
        torch.testing.assert_close(after, before @ (u @ v))  # the orthogonal map that comes nearest


def centroids(geometry: Geometry, x: torch.Tensor) -> torch.Tensor:
    """(x, y) of the centre of energy of each shower (n, voxels) in each layer that has directions, (n * layers, 2)."""
    found = []
    for i in geometry.active:
        layer, part = geometry.layers[i], x[:, geometry.slices[i]]
        if isinstance(layer, CartesianLayer) or layer.n_alpha > 1:
            found.append(part @ torch.from_numpy(np.stack(layer.centers, axis=1)) / part.sum(1, keepdim=True))
    return torch.cat(found)


def test_random_images_are_keyed_by_shower() -> None:
    source = showers(RINGS, 64)
    batch = source.fetch(torch.arange(64))
    image = RandomSymmetry(RINGS)(batch, KeyedNoise(2, batch.index))
    alone = source.fetch(torch.tensor([7]))
    again = RandomSymmetry(RINGS)(alone, KeyedNoise(2, alone.index))
    assert (image.x[7] == again.x[0]).all()
    torch.testing.assert_close(image.x.sum(1), batch.x.sum(1))
