"""Markov chains: every step has its own noise, other for each sample."""

import math

import torch
from maquette.core.samplers.markov import markov_chain
from maquette.core.testing.bench import keyed


def kernel(x, noise):
    """Leaves N(0, 1) as it is, and forgets the start at a rate of 0.8 a step."""
    return 0.8 * x + 0.6 * noise.normal("jump")


def test_a_chain_forgets_its_start():
    n = 4000
    x = markov_chain(kernel, torch.full((n,), 50.0, dtype=torch.float64), 60, keyed(n))
    assert abs(x.mean()) < 4 / math.sqrt(n)
    assert abs(x.var() - 1) < 4 * math.sqrt(2 / n)


def test_no_steps_leave_the_start():
    start = torch.arange(3.0)
    assert markov_chain(kernel, start, 0, keyed(3)) is start


def test_a_callback_gets_every_state():
    seen = []
    x = markov_chain(kernel, torch.zeros(3, dtype=torch.float64), 4, keyed(3), callback=seen.append)
    assert [(done.step, done.time) for done in seen] == [(step, None) for step in range(4)]
    assert torch.equal(seen[-1].state, x)
    shorter = markov_chain(kernel, torch.zeros(3, dtype=torch.float64), 2, keyed(3))
    assert torch.equal(seen[1].state, shorter)
