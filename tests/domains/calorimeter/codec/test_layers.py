"""Layer energies and hit counts as features."""

import torch
from maquette.core.data import Batch, TensorSource
from maquette.core.noise import KeyedNoise
from maquette.data_specs.calorimeter.geometry import Geometry, PolarLayer
from small_stacks import CUT, fitted


def test_hit_counts_beyond_those_of_training_are_rare_and_near_but_not_impossible() -> None:
    geometry = Geometry("fine", (PolarLayer(0, tuple(map(float, range(11))), 20),) * 3, threshold=CUT)
    torch.manual_seed(0)
    n = 1000
    counts = torch.randint(60, 81, (2 * n, 3))
    rank = torch.rand(2 * n, 3, 200).argsort(2).argsort(2)
    x = ((rank < counts[:, :, None]) * (0.2 + torch.rand(2 * n, 3, 200))).flatten(1)
    energy = {"energy": 1.5 * x.sum(1, keepdim=True)}
    codec = fitted(geometry, TensorSource(x[:n], {"energy": energy["energy"][:n]}))
    edges = torch.special.ndtr(codec.hit_counts.edges.double())
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
