"""Rotary positions, patterns of attention, and the cache of keys and values."""

import pytest
import torch
from maquette.core.nets.attention import Attention, KVCache, Rotary
from maquette.core.nets.sparse_attention import Full, Local, Strided
from torch.nn import functional as F


def products(positions):
    """Products of the same query and key, rotated to every pair of positions."""
    rotary = Rotary(positions, 8).double()
    q, k = (x.expand(1, 1, len(positions), 8) for x in torch.randn(2, 1, 1, 1, 8, dtype=torch.float64))
    return (rotary(q) @ rotary(k).transpose(2, 3))[0, 0]


def test_rotary_products_depend_on_distances_only():
    found = products(torch.arange(6)[:, None])
    for distance in range(-5, 6):
        diagonal = found.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-6)
    assert found[0].unique().numel() == 6


def test_attention_rotates_queries_and_keys_but_not_values():
    """Against the formula, token by token."""
    rotary = Rotary(torch.arange(5)[:, None], 4).double()
    attention = Attention(8, 2, rotary=rotary).double()
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    q, k, v = (part.unflatten(2, (2, 4)) for part in attention.qkv(x).chunk(3, dim=2))
    found = torch.zeros(3, 5, 2, 4, dtype=torch.float64)
    for i in range(5):
        scores = [(rotate(q[:, i], i) * rotate(k[:, j], j)).sum(2) / 2 for j in range(5)]
        found[:, i] = torch.einsum("bhj,bjhf->bhf", torch.stack(scores, dim=2).softmax(2), v)
    torch.testing.assert_close(attention(x), attention.out(found.flatten(2)), rtol=0, atol=1e-6)


def rotate(x, position):
    """Pairs (x_0, x_2) and (x_1, x_3) by position x 1 and position x 1/100 (arXiv:2104.09864, eq. 15)."""
    z = torch.complex(x[..., :2], x[..., 2:])
    z = z * torch.polar(torch.ones(2), torch.tensor([1.0, 0.01]) * position)
    return torch.cat((z.real, z.imag), dim=-1)


def test_rotary_products_on_a_grid_depend_on_the_distance_along_each_axis():
    grid = torch.cartesian_prod(torch.arange(3), torch.arange(4))
    found = products(grid)
    distances = (grid[:, None] - grid).reshape(-1, 2)
    for distance in distances.unique(dim=0):
        same = found.flatten()[(distances == distance).all(1)]
        torch.testing.assert_close(same, same[:1].expand_as(same), rtol=0, atol=1e-6)
    assert abs(found[0, 1] - found[0, 4]) > 1e-3  # one step along either axis


PATTERNS = [Full(), *(kind(size) for kind in (Local, Strided) for size in (1, 2, 3, 4, 7, 9))]


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
@pytest.mark.parametrize("tokens", [1, 6, 7, 12])
def test_a_pattern_in_blocks_is_dense_attention_under_its_mask(pattern, tokens):
    q, k, v = torch.randn(3, 2, 3, tokens, 4, dtype=torch.float64)
    mask = torch.zeros(tokens, tokens, dtype=torch.bool)
    for token in range(tokens):
        mask[token, pattern.visible(token)] = True
    assert mask.diagonal().all()
    assert not mask.triu(1).any()
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    torch.testing.assert_close(pattern(q, k, v), expected, rtol=0, atol=1e-13)


def test_patterns_attend_to_the_tokens_they_name():
    found = {pattern: list(range(12))[pattern.visible(8)] for pattern in (Full(), Local(3), Strided(3))}
    assert found == {Full(): [0, 1, 2, 3, 4, 5, 6, 7, 8], Local(3): [6, 7, 8], Strided(3): [2, 5, 8]}


@pytest.mark.parametrize("pattern", [Local(16), Strided(128)], ids=str)
def test_sparse_attention_holds_no_square_of_the_length(pattern):
    """The largest tensor of a pass over 2,048 tokens, by the operations that torch runs."""
    sizes = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            torch.utils._pytree.tree_map_only(torch.Tensor, lambda each: sizes.append(each.numel()), out)
            return out

    q, k, v = torch.randn(3, 1, 1, 2048, 4)
    with Watch():
        pattern(q, k, v)
    assert max(sizes) < 2048**2 / 16


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_the_cache_gives_what_all_tokens_at_once_give(pattern):
    attention = Attention(8, 2, rotary=Rotary(torch.arange(7)[:, None], 4), pattern=pattern).double()
    x = torch.randn(3, 7, 8, dtype=torch.float64)
    cache = KVCache(x, 2, 7, 4)
    pieces = [attention.step(x[:, [token]], cache) for token in range(7)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), attention(x), rtol=0, atol=1e-13)
