"""Parts of different levels and tokens with an end: exact masses, and no weight beyond the end."""

import pytest
import torch
from maquette.core.data import Batch
from maquette.core.errors import ConfigError
from maquette.core.families.autoregressive.fvsbn import FVSBNConfig
from maquette.core.families.autoregressive.made import MADEConfig
from maquette.core.families.autoregressive.nade import NADEConfig
from maquette.core.families.autoregressive.recurrent import RecurrentConfig
from maquette.core.families.autoregressive.transformer import TransformerConfig
from maquette.core.families.autoregressive.wavenet import WaveNetConfig
from maquette.core.likelihoods.logistic import LogisticMixtureConfig
from maquette.core.spaces import Binary, Levels, Product, Sequence, Vector
from maquette.core.testing.bench import all_states, keyed, shaken
from maquette.core.values import check_values

WORDS = Sequence(length=4, vocabulary=3, variable=True)
PARTS = Product(
    parts={
        "nodes": Vector(dim=2, support=Levels(count=4)),
        "edges": Vector(dim=1, support=Levels(count=2)),
        "on": Vector(dim=1, support=Binary()),
    }
)
NETWORKS = [TransformerConfig.example(), RecurrentConfig.example(), WaveNetConfig.example(), FVSBNConfig()]
IDS = [config.kind for config in NETWORKS]


@pytest.mark.parametrize("config", NETWORKS, ids=IDS)
def test_a_log_probability_is_that_of_the_tokens_and_the_end(config):
    model = shaken(config, WORDS, None, scale=0.5)
    x = {"tokens": torch.tensor([[2, 0, 0, 0], [0, 0, 0, 0], [1, 2, 0, 1]]), "length": torch.tensor([2, 0, 4])}
    with torch.no_grad():
        found, log_masses = model.log_prob(x), model.conditionals(x).log_softmax(-1)
    end = 3
    expected = torch.stack(
        [
            log_masses[0, 0, 2] + log_masses[0, 1, 0] + log_masses[0, 2, end],
            log_masses[1, 0, end],
            log_masses[2, 0, 1] + log_masses[2, 1, 2] + log_masses[2, 2, 0] + log_masses[2, 3, 1],
        ]
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("config", NETWORKS, ids=IDS)
def test_every_token_of_a_batch_weighs_the_same_and_padding_nothing(config):
    model = shaken(config, WORDS, None)
    x = {"tokens": torch.tensor([[2, 0, 0, 0], [0, 0, 0, 0], [1, 2, 0, 1]]), "length": torch.tensor([2, 0, 4])}
    objective = model.stages()[0].players[0].objective
    found = objective(Batch(x, None, torch.arange(3)), keyed(3))
    assert found.weights.tolist() == [3, 1, 4]
    torch.testing.assert_close(found.losses * found.weights, -model.log_prob(x))


def test_an_ensemble_weighs_tokens_as_one_model_does():
    for config in (MADEConfig(hidden=(8,), masks=2), NADEConfig(hidden=(8,))):
        model = shaken(config, WORDS, None)
        x = {"tokens": torch.tensor([[2, 0, 0, 0], [1, 2, 0, 1]]), "length": torch.tensor([1, 4])}
        found = model.stages()[0].players[0].objective(Batch(x, None, torch.arange(2)), keyed(2))
        assert found.weights.tolist() == [2, 4]


@pytest.mark.parametrize("config", NETWORKS, ids=IDS)
def test_finished_samples_stay_finished(config):
    model = shaken(config, WORDS, None)
    with torch.no_grad():
        drawn = model.draw(None, keyed(300).uniform("numbers", (4, 1)))
        x = model.sample(300, noise=keyed(300))
    ended = (drawn == 3).cumsum(1) > 0
    assert (drawn[ended] == 3).all()
    check_values(WORDS, x)
    assert x["length"].unique().tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("masks", [1, 3])
def test_parts_of_other_levels_have_exact_masses_in_any_order(masks):
    """In a random order, too: the law of normalisation tries but one."""
    torch.manual_seed(masks)
    model = shaken(MADEConfig(hidden=(8,), masks=masks, order="random"), PARTS, None, scale=0.5)
    states = all_states(PARTS)
    assert len(states) == 4 * 4 * 2 * 2
    with torch.no_grad():
        total = model.log_prob(model.layout.samples(states)).exp().sum().item()
        x = model.sample(500, noise=keyed(500))
    assert total == pytest.approx(1, abs=1e-12)
    check_values(PARTS, x)
    assert {name: part.dtype.is_floating_point for name, part in x.items()} == {
        "nodes": False,
        "edges": False,
        "on": True,
    }


def test_an_order_agnostic_model_knows_the_levels_of_its_parts():
    model = shaken(NADEConfig(hidden=(8,), orders=3), PARTS, None)
    x = model.layout.samples(all_states(PARTS))
    objective = model.stages()[0].players[0].objective
    before = objective(Batch(x, None, torch.arange(64)), keyed(64)).losses
    model.network.output_bias.data[2, 2:] += 5.0  # logits of levels that an edge does not have
    torch.testing.assert_close(objective(Batch(x, None, torch.arange(64)), keyed(64)).losses, before)


@pytest.mark.parametrize("config", [MADEConfig(order="random"), NADEConfig(orders=2)], ids=["made", "nade"])
def test_tokens_that_end_are_not_drawn_in_a_random_order(config):
    with pytest.raises(ConfigError, match="variable length"):
        config.build(WORDS)


def test_levels_that_differ_need_logits_of_their_own():
    for space in (WORDS, PARTS):
        with pytest.raises(ConfigError, match="need a categorical one, found LogisticMixture"):
            FVSBNConfig(likelihood=LogisticMixtureConfig()).build(space)
    with pytest.raises(ConfigError, match=r"parts of one support, found \['binary', 'levels', 'real'\]"):
        FVSBNConfig().build(Product(parts={**PARTS.parts, "x": Vector(dim=1)}))
