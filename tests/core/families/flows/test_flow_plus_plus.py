"""Flow++: mixtures of logistics as bijections."""

import pytest
import torch
from maquette.core.errors import ConfigError
from maquette.core.families.flows.flow_plus_plus import FlowPlusPlusConfig, LogisticMixtureCDF
from maquette.core.spaces import Field, Levels


def test_a_mixture_of_logistics_is_an_increasing_bijection():
    mixtures = LogisticMixtureCDF(components=3)
    parameters = 2 * torch.randn(50, mixtures.size, 4, dtype=torch.float64)
    transform = mixtures(parameters)
    x = (5 * torch.randn(50, 4, dtype=torch.float64)).requires_grad_()
    y, ladj = transform.call_and_ladj(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(ladj, slope.log(), rtol=0, atol=1e-10)
    torch.testing.assert_close(transform.inv(y), x, rtol=0, atol=1e-10)
    alone = LogisticMixtureCDF(components=1)
    torch.testing.assert_close(alone(torch.zeros(50, alone.size, 4, dtype=torch.float64))(x), x)
    start = mixtures(torch.zeros_like(parameters))
    assert (start(x) - x).abs().max() < 1
    assert start.mixture.means.diff(dim=-2).min() > 0


def test_a_grid_of_four_axes_is_refused_by_flow_plus_plus_too():
    with pytest.raises(ConfigError, match="expected a grid of one, two or three axes"):
        FlowPlusPlusConfig.example().build(Field(channels=1, grid=(2, 2, 2, 2), support=Levels(count=3)))
