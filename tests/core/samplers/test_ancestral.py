"""Ancestral draws see what was drawn before them, with a cache or without."""

import torch
from maquette.core.samplers.ancestral import ancestral, uncached_step

UNIFORMS = torch.rand(4, 5, 1, generator=torch.Generator().manual_seed(0))


def sums(x):
    """Parameters (B, D, 1) that depend on the dimensions before them."""
    return (torch.cumsum(x, 1) - x)[..., None]


def draw(parameters, u):
    return parameters[:, 0] + u[:, 0]


def test_each_dimension_sees_those_before_it():
    x = ancestral(uncached_step(sums, torch.full((4, 5), 7.0)), draw, UNIFORMS)
    torch.testing.assert_close(x, sums(x)[..., 0] + UNIFORMS[..., 0])


def test_a_cached_step_gets_what_was_drawn_last():
    total = torch.zeros(4)

    def step(last):
        if last is not None:
            total.add_(last)
        return total[:, None].clone()

    without = ancestral(uncached_step(sums, torch.zeros(4, 5)), draw, UNIFORMS)
    torch.testing.assert_close(ancestral(step, draw, UNIFORMS), without)


def test_a_callback_gets_what_was_drawn_so_far():
    seen = []
    x = ancestral(uncached_step(sums, torch.zeros(4, 5)), draw, UNIFORMS, callback=seen.append)
    assert [(done.step, done.time) for done in seen] == [(step, None) for step in range(5)]
    assert all(torch.equal(done.state, x[:, : done.step + 1]) for done in seen)
