"""Conditionals computed feature by feature are those of the whole sample, with and without a cache."""

import pytest
import torch
from maquette.core.capabilities import Stepwise
from maquette.core.families.autoregressive.made import MADEConfig
from maquette.core.families.autoregressive.pixelcnn import PixelCNNConfig
from maquette.core.families.autoregressive.transformer import TransformerConfig
from maquette.core.inference.stepwise import steps
from maquette.core.spaces import Field, Levels, Vector, flatten
from maquette.core.testing.bench import draw, shaken
from torch import nn


class Uncached(nn.Module):
    """A model that has conditionals and nothing else."""

    def __init__(self, model):
        super().__init__()
        self.model, self.layout = model, model.layout
        self.likelihood, self.order = model.likelihood, model.order

    def conditionals(self, x, condition=None):
        return self.model.conditionals(x, condition)


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("config", [MADEConfig, TransformerConfig, PixelCNNConfig])
def test_steps_give_the_conditionals(config, cached):
    space, condition = Field(channels=2, grid=(2, 3), support=Levels(count=4)), Vector(dim=2)
    model = shaken(config.example(), space, condition, scale=0.5)
    stepwise = model if cached else Uncached(model)
    assert isinstance(stepwise, Stepwise) == cached
    x, c = draw(space, 5, seed=1), draw(condition, 5, seed=2)
    flat = flatten(space, x)[:, model.order]
    with torch.no_grad():
        expected = model.conditionals(x, c)[:, model.order]
        step = steps(stepwise, 5, c)
        found = torch.stack([step(flat[:, i - 1] if i else None) for i in range(flat.shape[1])], dim=1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
