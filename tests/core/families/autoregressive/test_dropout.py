"""Dropout of causal networks: keyed by sample, the same at all positions, and in training only."""

import pytest
import torch
from maquette.core.data import Batch
from maquette.core.families.autoregressive.pixelcnn import PixelCNNConfig
from maquette.core.families.autoregressive.transformer import TransformerConfig
from maquette.core.noise import KeyedNoise
from maquette.core.spaces import Binary, Field, Vector
from maquette.core.testing.bench import shaken
from maquette.core.testing.laws import LAWS

SPACE = Field(channels=1, grid=(4, 4), support=Binary())
FAMILIES = [
    PixelCNNConfig(channels=4, depth=3, kernel=3, first_kernel=3, dropout=0.5),
    TransformerConfig(width=8, depth=2, heads=2, dropout=0.5),
]


@pytest.fixture(params=FAMILIES, ids=lambda config: config.kind)
def config(request):
    return request.param


def losses(model, index, seed=0):
    x = (torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(1)) < 0.5).double()[index]
    objective = model.stages()[0].players[0].objective
    return objective(Batch(x, None, index), KeyedNoise(seed, index, dtype=torch.float64)).losses, model.log_prob(x)


def test_the_mask_depends_on_seed_and_sample_only(config):
    model = shaken(config, SPACE, None)
    six, _ = losses(model, torch.arange(6))
    torch.testing.assert_close(losses(model, torch.tensor([4, 1]))[0], six[[4, 1]])
    assert not torch.allclose(losses(model, torch.arange(6), seed=1)[0], six)


def test_densities_are_computed_without_dropout(config):
    found, density = losses(shaken(config, SPACE, None), torch.arange(6))
    whole, same = losses(shaken(config.model_copy(update={"dropout": 0.0}), SPACE, None), torch.arange(6))
    assert torch.equal(density, same)
    torch.testing.assert_close(whole, -density / 16)
    assert not torch.allclose(found, whole)


@pytest.mark.parametrize("law", ["purity", "losses", "gradients"])
def test_a_loss_with_dropout_keeps_the_laws(config, law):
    LAWS[law].check(config, SPACE, Vector(dim=1))


def test_masked_features_keep_their_mean(config):
    model = shaken(config, SPACE, None)
    objective, index = model.stages()[0].players[0].objective, torch.arange(4000)
    (mask,) = objective.dropout_mask(KeyedNoise(0, index, dtype=torch.float64))
    assert set(mask.unique().tolist()) == {0.0, 2.0}
    assert ((mask.mean(0) - 1).abs() < 5 / 4000**0.5).all()  # the standard deviation is one
