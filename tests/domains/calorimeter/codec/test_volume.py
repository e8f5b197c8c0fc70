"""The volume of the codec is that of its map."""

import math

import pytest
import torch
from maquette.core.data import Batch
from maquette.core.noise import KeyedNoise, TapeNoise
from small_stacks import CUT, MIXED, RINGS, fitted, showers


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


def test_showers_outside_the_range_of_the_map_have_no_density() -> None:
    source = showers(RINGS, 300)
    codec = fitted(RINGS, source)
    batch = source.fetch(torch.arange(1, 300))
    loud = Batch(10 * batch.x, batch.condition, batch.index)
    beyond = loud.x.sum(1) >= codec.layer_energies.max_response * batch.condition["energy"][:, 0]
    assert beyond.sum() > 100
    volume = codec.encode_with_volume(loud, KeyedNoise(1, loud.index))[1]
    assert ((volume == -math.inf) == beyond).all()
    assert codec.encode_with_volume(batch, KeyedNoise(1, batch.index))[1].isfinite().all()
