"""The observation model: a product of likelihoods over the features of any space."""

import pytest
import torch
from maquette.core.errors import ConfigError
from maquette.core.families import families
from maquette.core.families.vae.observation import ObservationModel
from maquette.core.likelihoods.categorical import CategoricalConfig
from maquette.core.spaces import Binary, Field, Levels, Product, Vector
from maquette.core.testing.bench import draw, keyed

SPACE = Product(
    parts={"a": Vector(dim=2, support=Levels(count=3)), "b": Field(channels=1, grid=(2,), support=Levels(count=3))}
)


def test_log_probs_sum_over_features():
    observation = ObservationModel.of(SPACE, None, CategoricalConfig())
    x, parameters = draw(SPACE, 4, 1), torch.randn(4, 4, 3, dtype=torch.float64)
    flat = torch.cat((x["a"], x["b"].flatten(1)), dim=1)
    expected = torch.distributions.Categorical(logits=parameters).log_prob(flat).sum(1)
    torch.testing.assert_close(observation.log_prob(parameters, x), expected)
    assert torch.equal(observation.log_prob_flat(parameters, flat), observation.log_prob(parameters, x))


def test_draws_and_means_are_values_of_the_space():
    observation = ObservationModel.of(SPACE, None, None)
    parameters = torch.randn(4, 4, observation.likelihood.parameters)
    drawn, mean = observation.draw(parameters, keyed(4)), observation.mean(parameters)
    assert {name: part.shape[1:] for name, part in drawn.items()} == {"a": (2,), "b": (1, 2)}
    assert drawn["a"].dtype == torch.int64
    assert mean["b"].is_floating_point()


def test_a_likelihood_of_another_support_is_refused():
    with pytest.raises(ConfigError, match="categorical"):
        ObservationModel.of(Vector(dim=2, support=Binary()), None, CategoricalConfig())


@pytest.mark.parametrize("name", ["vae", "hierarchical-vae", "vq-vae", "denoising-autoencoder"])
def test_autoencoders_print_their_likelihood(name):
    model = families.get(name).example().build(Vector(dim=2, support=Binary()))
    assert "likelihood=Bernoulli(" in repr(model)
