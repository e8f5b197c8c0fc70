"""Embeddings of time and context, and their start."""

import math

import torch
from maquette.core.nets.embeddings import Conditioner, Modulation, TimeEmbedding
from maquette.core.nets.init import zero_init


def test_frequencies_are_geometric_between_their_ends():
    embedding = TimeEmbedding(features=8, min_frequency=0.5, max_frequency=4.0)
    time = torch.tensor([0.3])
    expected = [2 * math.pi * 0.5 * 2**i * 0.3 for i in range(4)]
    torch.testing.assert_close(embedding(time)[0, :4], torch.tensor(expected).sin())
    torch.testing.assert_close(embedding(time)[0, 4:], torch.tensor(expected).cos())


def test_without_time_and_context_features_are_a_learned_constant():
    conditioner = Conditioner(0, 4)
    features = conditioner(torch.randn(3, 2), None, None)
    assert torch.equal(features, features[:1].expand(3, -1))
    features.sum().backward()
    assert conditioner.constant is not None
    assert conditioner.constant.grad is not None


def test_modulation_starts_at_zero():
    assert all((tensor == 0).all() for tensor in Modulation(3, 4, 5)(torch.randn(2, 3)))


def test_zero_init_leaves_no_parameter():
    linear = zero_init(torch.nn.Linear(3, 2))
    assert all((parameter == 0).all() for parameter in linear.parameters())


def test_embeddings_print_what_they_are():
    assert "features=8, min_frequency=0.1, max_frequency=8.0" in repr(TimeEmbedding(features=8))
