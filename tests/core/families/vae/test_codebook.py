"""Codebooks follow the vectors that are assigned to them, and replace unused entries."""

import torch
from maquette.core.families.vae.codebook import Codebook
from maquette.core.noise import KeyedNoise


def normal(*shape, seed=0):
    return KeyedNoise(seed, torch.arange(shape[0]), dtype=torch.float64).normal("x", shape[1:])


def codebook_of(entries, decay=0.9, dead_threshold=1e-3):
    codebook = Codebook(*entries.shape, decay=decay, dead_threshold=dead_threshold).double()
    codebook.entries.copy_(entries)
    return codebook


def test_nearest_is_nearest():
    codebook, z = codebook_of(normal(7, 3)), normal(5, 4, 3, seed=1)
    codes = codebook.nearest(z)
    assert codes.shape == (5, 4)
    assert torch.equal(codes, torch.cdist(z.flatten(0, 1), codebook.entries).argmin(1).view(5, 4))
    assert torch.equal(codebook.embed(codes)[2, 3], codebook.entries[codes[2, 3]])


def test_a_codebook_is_the_decayed_mean_of_what_was_assigned():
    codebook = codebook_of(torch.eye(3, dtype=torch.float64), decay=0.8)
    counts, sums = torch.zeros(3, dtype=torch.float64), torch.zeros(3, 3, dtype=torch.float64)
    for step in range(6):
        z, codes = normal(40, 3, seed=step), torch.arange(40) % 3
        codebook.update(codebook.statistics(z, codes, torch.zeros(40)))
        counts, sums = 0.8 * counts, 0.8 * sums
        for k in range(3):
            counts[k] += 0.2 * (codes == k).double().sum()
            sums[k] += 0.2 * z[codes == k].sum(0)
        torch.testing.assert_close(codebook.entries, sums / counts[:, None], rtol=0, atol=1e-12)
        torch.testing.assert_close(codebook.counts, counts, rtol=0, atol=1e-12)


def test_statistics_of_parts_add_up():
    codebook, z, u = codebook_of(normal(4, 3)), normal(10, 2, 3, seed=1), torch.rand(10, 2)
    codes = codebook.nearest(z)
    whole = codebook.statistics(z, codes, u)
    parts = [codebook.statistics(z[part], codes[part], u[part]) for part in (slice(0, 3), slice(3, 10))]
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[0][name] + parts[1][name], tensor)


def test_autocast_does_not_change_a_codebook():
    codebook, z, u = codebook_of(normal(64, 3)).float(), normal(500, 3, seed=1).float(), torch.rand(500)
    codes = codebook.nearest(z)
    statistics = codebook.statistics(z, codes, u)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(codebook.nearest(z), codes)
        for name, tensor in codebook.statistics(z, codes, u).items():
            assert torch.equal(tensor, statistics[name]), name


def clustered(n=64, seed=0):
    corners = torch.tensor([[5.0, 5.0], [5.0, -5.0], [-5.0, 5.0], [-5.0, -5.0]], dtype=torch.float64)
    return corners[torch.arange(n) % 4] + 0.1 * normal(n, 2, seed=seed)


def run(codebook, steps):
    for step in range(steps):
        z = clustered(seed=step)
        u = KeyedNoise(1, torch.arange(len(z)), step=step, dtype=torch.float64).uniform("half")
        codes = codebook.nearest(z)
        codebook.update(codebook.statistics(z, codes, u))
    return (z - codebook.embed(codebook.nearest(z))).square().sum(1).mean()


def test_dead_entries_are_replaced():
    """All vectors are nearest to one entry of sixteen; without replacement that would stay so."""
    start = torch.cat((torch.zeros(1, 2), torch.full((15, 2), 100.0))).double()
    left, replaced = codebook_of(start, dead_threshold=1e-9), codebook_of(start, dead_threshold=0.05)
    left._replace_dead = lambda *halves: None
    assert run(left, 30) > 40
    assert left.dead.sum() == 15
    assert run(replaced, 30) < 0.05
    assert not replaced.dead.any()
    again = codebook_of(start, dead_threshold=0.05)
    run(again, 30)
    assert torch.equal(again.entries, replaced.entries)


def test_a_replacement_halves_the_use_of_both():
    start = torch.cat((torch.zeros(1, 2), torch.full((3, 2), 100.0))).double()
    codebook = codebook_of(start, dead_threshold=0.05)
    z, u = clustered(), KeyedNoise(1, torch.arange(64), dtype=torch.float64).uniform("half")
    codebook.update(codebook.statistics(z, codebook.nearest(z), u))
    torch.testing.assert_close(codebook.counts.sum(), torch.tensor(6.4, dtype=torch.float64))
    torch.testing.assert_close(codebook.counts[:1], torch.tensor([3.2], dtype=torch.float64))
    moved = (codebook.counts[1:] == codebook.counts[0]).nonzero()[:, 0] + 1
    assert len(moved) == 1
    torch.testing.assert_close(codebook.entries[moved[0]], z[u < 0.5].mean(0))
    torch.testing.assert_close(
        codebook.sums, codebook.counts[:, None] * codebook.entries * (codebook.counts > 0)[:, None]
    )
