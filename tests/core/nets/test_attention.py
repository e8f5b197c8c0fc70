"""Rotary positions and the cache of keys and values."""

import torch
from maquette.core.nets.attention import Attention, Cache, Rotary


def products(positions):
    """Of every pair of the same two vectors, turned to the positions."""
    rotary = Rotary(positions, 8).double()
    q, k = (x.expand(1, 1, len(positions), 8) for x in torch.randn(2, 1, 1, 1, 8, dtype=torch.float64))
    return (rotary(q) @ rotary(k).transpose(2, 3))[0, 0]


def test_rotary_products_depend_on_distances_alone():
    found = products(torch.arange(6)[:, None])
    for distance in range(-5, 6):
        diagonal = found.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-6)
    assert found[0].unique().numel() == 6


def test_rotary_products_on_a_grid_depend_on_the_distance_along_each_axis():
    grid = torch.cartesian_prod(torch.arange(3), torch.arange(4))
    found = products(grid)
    distances = (grid[:, None] - grid).reshape(-1, 2)
    for distance in distances.unique(dim=0):
        same = found.flatten()[(distances == distance).all(1)]
        torch.testing.assert_close(same, same[:1].expand_as(same), rtol=0, atol=1e-6)
    assert abs(found[0, 1] - found[0, 4]) > 1e-3  # one step along either axis


def test_the_cache_gives_what_all_tokens_at_once_give():
    attention = Attention(8, 2, rotary=Rotary(torch.arange(7)[:, None], 4)).double()
    x = torch.randn(3, 7, 8, dtype=torch.float64)
    cache = Cache(x, 2, 7, 4)
    pieces = [attention(x[:, places], cache=cache) for places in ([0], [1], [2])]
    torch.testing.assert_close(torch.cat(pieces, dim=1), attention(x, causal=True)[:, :3], rtol=0, atol=1e-13)
    mask = torch.ones(7, 7).tril().bool()
    torch.testing.assert_close(attention(x, mask), attention(x, causal=True), rtol=0, atol=1e-13)
