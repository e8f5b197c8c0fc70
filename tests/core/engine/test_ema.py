"""Exponentially averaged weights."""

import pytest
import torch
from maquette.core.engine.ema import ExponentialMovingAverage
from torch import nn


def test_the_average_follows_its_recursion_and_can_replace_the_weights_for_a_while() -> None:
    weight = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    average, expected = ExponentialMovingAverage([weight], 0.5), 1.0
    for count in range(30):
        with torch.no_grad():
            weight.fill_(count)
        average.update(count)
        decay = min(0.5, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * count
    assert average.tensors[0].item() == pytest.approx(expected)
    with average.swapped():
        assert weight.item() == pytest.approx(expected)
    assert weight.item() == 29.0
    average.adopt()
    assert weight.item() == pytest.approx(expected)
