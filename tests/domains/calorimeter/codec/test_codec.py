"""The codec: what goes in comes out, and sums and counts are exact."""

from dataclasses import replace

import pytest
import torch
from maquette.core.data import Batch, TensorSource
from maquette.core.errors import ConfigError, SpaceError
from maquette.core.noise import KeyedNoise
from maquette.core.spaces import Vector
from maquette.data_specs.calorimeter.geometry import MIN_DEPOSIT, Geometry
from maquette.data_specs.errors import DataError
from maquette.domains.calorimeter.codec.codec import MIN_SHOWERS, ShowerCodecConfig, shower_codec
from maquette.domains.calorimeter.dataset import ShowerDataset
from maquette.domains.calorimeter.sample import sample_path
from maquette.domains.codec import Codec
from small_stacks import CUT, MIXED, RINGS, fitted, showers


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
    counts = torch.minimum((heights[:, :, None] >= codec.hit_counts.edges[:, 1:-1]).sum(2), codec.padding.sizes)
    energies = codec.layer_energies.decode(ratios, counts > 0, energy)
    bright = energies > counts * CUT * 1.01  # fainter layers must lose hits
    assert ((table > 0).sum(2) == counts)[bright].all()
    kept = (table > 0).any(2)
    torch.testing.assert_close(table.sum(2)[kept], energies[kept], rtol=1e-4, atol=1e-4)
    assert (energies[~kept & (counts > 0)] < CUT * 1.001).all()
    assert (table.sum(2)[counts == 0] == 0).all()


def test_voxels_that_training_never_hit_stay_empty_and_can_be_scored() -> None:
    source = showers(RINGS, 300)
    source.x[:, 3] = 0
    codec = fitted(RINGS, source)
    noise = KeyedNoise(5, torch.arange(500))
    parts = {name: noise.normal(name, part.shape) for name, part in codec.space.parts.items()}
    assert (codec.decode(parts, {"energy": torch.full((500, 1), 60.0)})[:, 3] > 0).float().mean() < 0.01
    strange = Batch(source.x.roll(1, dims=1), source.condition, torch.arange(300))  # hits voxel 3
    assert codec.encode_with_volume(strange, KeyedNoise(1, strange.index))[1].isfinite().all()


def test_showers_without_a_hit_are_refused() -> None:
    with pytest.raises(DataError, match="no deposit above"):
        fitted(RINGS, TensorSource(torch.zeros(30, RINGS.n_voxels), {"energy": torch.ones(30, 1)}))


@pytest.mark.parametrize("n", [1, MIN_SHOWERS - 1])
def test_too_few_showers_are_refused(n: int) -> None:
    with pytest.raises(DataError, match=rf"at least {MIN_SHOWERS} showers to train on, found {n};"):
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
    assert MIN_DEPOSIT <= codec.cut.item() < 2 * MIN_DEPOSIT
    batch = source.fetch(torch.arange(400))
    back = codec.decode(codec.encode(batch, KeyedNoise(1, batch.index)).x, condition)
    assert back.isfinite().all()
    torch.testing.assert_close(back, torch.where(x >= codec.cut, x, 0.0), rtol=2e-3, atol=1e-2)
    torch.testing.assert_close(back.sum(1), x.sum(1), rtol=1e-5, atol=1e-3)
    noise = KeyedNoise(5, batch.index)
    anything = {name: 1.5 * noise.normal(name, part.shape) for name, part in codec.space.parts.items()}
    assert codec.decode(anything, condition).isfinite().all()


def test_it_prints_what_it_is() -> None:
    text = repr(fitted(RINGS, showers(RINGS, 100)))
    assert text.startswith("ShowerCodec(\n  geometry=rings, cut=0.1 MeV, gauge=0.02")
    for part in ("ConditionTable(energy=1)", "HitCounts(layers=3, max_count=8)", "Padding(layers=3, max_cells=8)"):
        assert part in text


def test_showers_come_as_one_tensor_with_their_energy() -> None:
    source = showers(RINGS, 100)
    codec = fitted(RINGS, source)
    batch, noise = source.fetch(torch.arange(5)), KeyedNoise(1, torch.arange(5))
    with pytest.raises(SpaceError, match=r"one tensor \(B, voxels\), found the named tensors \['x'\]"):
        codec.encode(Batch({"x": batch.x}, batch.condition, batch.index), noise)
    with pytest.raises(SpaceError, match=r"conditions by name, .* found none"):
        codec.encode(Batch(batch.x, None, batch.index), noise)
    with pytest.raises(SpaceError, match=r"need the condition \"energy\" .* found \['angle'\]"):
        codec.encode(Batch(batch.x, {"angle": torch.zeros(5, 2)}, batch.index), noise)
    with pytest.raises(SpaceError, match="by name, as `encode` returns them"):
        codec.decode(torch.zeros(5, 6), batch.condition)


def test_a_codec_of_another_domain_is_refused() -> None:
    class Other(Codec):
        fit = encode = encode_condition = decode = draw_condition = lambda self, *args: None

    with pytest.raises(ConfigError, match="the calorimeter needs a ShowerCodec, found Other"):
        shower_codec(Other(Vector(dim=1)))
    codec = fitted(RINGS, showers(RINGS, 100))
    assert shower_codec(codec) is codec
