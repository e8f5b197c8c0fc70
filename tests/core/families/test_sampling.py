"""Options of sampling are not fixed by the fit: views of a model share its weights."""

import pytest
import torch
from maquette.core.config import parse
from maquette.core.errors import ConfigError
from maquette.core.families.chain import ChainConfig
from maquette.core.families.diffusion.distilled import DistilledConfig
from maquette.core.families.diffusion.edm import EDMConfig
from maquette.core.families.diffusion.flow_matching import FlowMatchingConfig
from maquette.core.families.flows.continuous import ContinuousConfig
from maquette.core.families.flows.linear import LinearConfig
from maquette.core.families.sampling import sampler_options, with_sampler
from maquette.core.nets.mlp import MLPConfig
from maquette.core.spaces import Product, Vector, flatten
from maquette.core.testing.bench import keyed, shared

NETWORK = MLPConfig(hidden=(8,))
SPACE = Product(parts={"a": Vector(dim=1), "b": Vector(dim=2)})


def drawn(model, space=SPACE):
    with torch.no_grad():
        return flatten(space, model.sample(3, noise=keyed(3)))


@pytest.mark.parametrize(
    ("family", "words", "options"),
    [
        (FlowMatchingConfig, ["sampler.steps=3", "sampler.method=heun"], {"steps": 3, "method": "heun"}),
        (EDMConfig, ["sampler.steps=3", "sampler.rho=2"], {"steps": 3, "rho": 2.0}),
        (ContinuousConfig, ["sampler.steps=3", "sampler.method=euler"], {"steps": 3, "method": "euler"}),
    ],
)
def test_a_view_samples_as_a_model_of_the_other_options_with_the_same_weights(family, words, options):
    """To the bit, so nothing of the first options is left."""
    model = shared(family(network=NETWORK), SPACE, None)
    other = family(network=NETWORK, sampler=options).build(SPACE).double()
    other.load_state_dict(model.state_dict())
    view = with_sampler(model, words)
    assert not torch.equal(drawn(view), drawn(model))
    assert torch.equal(drawn(view), drawn(other))
    assert all(mine is theirs for mine, theirs in zip(view.parameters(), model.parameters(), strict=True))


def test_options_of_a_part_are_set_by_its_path():
    second = FlowMatchingConfig(network=NETWORK)
    model = shared(ChainConfig(first=LinearConfig(), second=second, split=("a",)), SPACE, None)
    before = drawn(model)
    view = with_sampler(model, ["second.sampler.steps=2"])
    assert sampler_options(view)["second.sampler.steps"] == 2
    assert sampler_options(model)["second.sampler.steps"] == 10
    assert torch.equal(drawn(view)[:, 0], before[:, 0])
    assert not torch.equal(drawn(view), before)
    assert torch.equal(drawn(model), before)
    with pytest.raises(ConfigError, match=r'second\.sampler\.stepps: .* Did you mean "second\.sampler\.steps"'):
        with_sampler(model, ["second.sampler.stepps=2"])


def test_a_student_shows_no_options_of_its_parts_which_would_change_nothing():
    teacher = FlowMatchingConfig(network=NETWORK)
    model = shared(DistilledConfig(teacher=teacher), Vector(dim=2), None)
    assert sampler_options(model) == {"sampler.temperature": 1.0}


def test_a_temperature_scales_the_noise():
    model = FlowMatchingConfig(network=NETWORK).build(Vector(dim=2)).double()  # untrained: samples are the noise
    cold = with_sampler(model, ["sampler.temperature=0.25"])
    assert torch.equal(drawn(cold, Vector(dim=2)), 0.25 * drawn(model, Vector(dim=2)))


@pytest.mark.parametrize("word", ["sampler.steps=0", "sampler.method=leapfrog", "sampler.guidance=2"])
def test_a_value_that_an_option_cannot_have_is_refused(word):
    model = shared(FlowMatchingConfig(network=NETWORK), SPACE, None)
    with pytest.raises(ConfigError, match=word.partition("=")[0].replace(".", r"\.")):
        with_sampler(model, [word])


@pytest.mark.parametrize(
    ("family", "key"),
    [(FlowMatchingConfig, "steps"), (FlowMatchingConfig, "method"), (EDMConfig, "steps"), (EDMConfig, "rho")],
)
def test_a_key_of_older_recipes_is_refused_with_its_new_place(family, key):
    with pytest.raises(ConfigError, match=rf'config\.{key}: there is no such key. Did you mean "sampler\.{key}"'):
        parse(family, {key: 4})
