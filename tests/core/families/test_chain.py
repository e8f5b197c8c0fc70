"""Chains: density, samples and stages of two families, and what is refused."""

import math

import pytest
import torch
from maquette.core.capabilities import capabilities
from maquette.core.data import Batch
from maquette.core.errors import ConfigError, SpaceError
from maquette.core.families.autoregressive.nade import NADEConfig
from maquette.core.families.chain import ChainConfig, take
from maquette.core.families.diffusion.flow_matching import FlowMatchingConfig
from maquette.core.families.flows.circular_spline import CircularSplineConfig
from maquette.core.families.flows.spline import SplineConfig
from maquette.core.families.gan.gan import GANConfig
from maquette.core.noise import KeyedNoise, Recorder
from maquette.core.spaces import Field, Product, Vector
from maquette.core.testing.bench import draw, fit, keyed, shaken
from maquette.core.testing.cover import SUPPORTS
from maquette.core.values import check

FLOW, GAN = SplineConfig(transforms=4, hidden=(16,), bins=4), GANConfig.example()
SPACE = Product(parts={"e": Vector(dim=2), "v": Field(channels=1, grid=(2, 2)), "w": Vector(dim=2)})
CONDITION = Product(parts={"k": Vector(dim=1)})


def test_density_and_sample_are_compositions():
    chain = shaken(ChainConfig(first=FLOW, second=FLOW, split=("e",)), SPACE, CONDITION)
    x, c = draw(SPACE, 4, 1), draw(CONDITION, 4, 2)
    given = c | {"e": x["e"]}
    expected = chain.first.log_prob(x["e"], c) + chain.second.log_prob({"v": x["v"], "w": x["w"]}, given)
    assert torch.equal(chain.log_prob(x, c), expected)
    y = chain.sample(4, c, noise=keyed(4))
    e = chain.first.sample(4, c, noise=keyed(4).fold("first"))
    rest = chain.second.sample(4, c | {"e": e}, noise=keyed(4).fold("second"))
    assert list(y) == ["e", "v", "w"]
    assert torch.equal(y["e"], e)
    assert all(torch.equal(y[name], rest[name]) for name in "vw")


def test_the_second_family_trains_on_true_parts():
    chain = shaken(ChainConfig(first=FLOW, second=FLOW, split=("e",)), SPACE, CONDITION)
    x, c = draw(SPACE, 4, 1), draw(CONDITION, 4, 2)
    losses = [
        stage.players[0].objective(Batch(x, c, torch.arange(4)), keyed(4)).losses * dim
        for stage, dim in zip(chain.stages(), (2, 6), strict=True)
    ]
    torch.testing.assert_close(-sum(losses), chain.log_prob(x, c))


@pytest.mark.parametrize(
    ("second", "stages", "tape"),
    [
        (FLOW, ["energies", "cells"], ["energies/prior", "cells/prior"]),
        (
            {"kind": "distilled", "teacher": FlowMatchingConfig.example()},
            ["energies", "cells", "cells/distill"],
            ["energies/prior", "cells/prior"],
        ),
    ],
)
def test_stages_and_noise_have_the_given_names(second, stages, tape):
    config = {"first": FLOW, "second": second, "split": ["e"], "names": ["energies", "cells"]}
    chain = ChainConfig.model_validate(config).build(SPACE)
    assert [stage.name for stage in chain.stages()] == stages
    recorder = Recorder(keyed(2, dtype=torch.float32))
    chain.sample(2, noise=recorder)
    assert list(recorder.tape) == tape


def test_names_must_differ():
    with pytest.raises(ConfigError, match="need different names"):
        ChainConfig(first=FLOW, second=FLOW, split=("e",), names=("a", "a")).build(SPACE)


def test_a_chain_has_a_density_only_if_both_families_have():
    assert "density" in capabilities(ChainConfig(first=FLOW, second=FLOW, split=("e",)).build(SPACE))
    for first, second in ((FLOW, GAN), (GAN, FLOW)):
        assert "density" not in capabilities(ChainConfig(first=first, second=second, split=("e",)).build(SPACE))


def test_notes_of_both_families_are_labelled():
    chain = ChainConfig(first=FLOW, second=FLOW, split=("e",)).build(SPACE)
    assert chain.likelihood_notes == ("first: normal base", "second: normal base")


def test_samples_without_names_are_refused():
    with pytest.raises(SpaceError, match="a chain expects named tensors, found one tensor"):
        take(torch.zeros(2, 8), ("e",))


def test_it_learns_both_conditionals():
    """e ~ N(0, 1) and v given e ~ N(e, 0.2^2), two of each: the loss ends within 0.15 nats of the entropy."""
    torch.manual_seed(0)
    space = Product(parts={"e": Vector(dim=2), "v": Vector(dim=2)})
    flow = SplineConfig(transforms=2, hidden=(16,), bins=4)
    model = ChainConfig(first=flow, second=flow, split=("e",)).build(space)

    def batch(step, n=512):
        e, v = KeyedNoise(1, torch.arange(n), step=step).normal("x", (2, 2)).unbind(1)
        return Batch({"e": e, "v": e + 0.2 * v}, None, torch.arange(n))

    fit(model, batch, steps=150, lr=1e-2)
    x = batch(-1, 4000).x
    with torch.no_grad():
        loss = -model.log_prob(x).mean().item()
    entropy = 2 * (math.log(2 * math.pi * math.e) + math.log(0.2))
    assert abs(loss - entropy) < 0.15


@pytest.mark.parametrize("support", ChainConfig.supports)
def test_parts_may_have_any_support_that_a_family_models(support):
    second = {"real": FLOW, "interval": FLOW, "torus": CircularSplineConfig.example()}.get(
        support, NADEConfig.example()
    )
    space = Product(parts={"e": Vector(dim=2), "v": Vector(dim=2, support=SUPPORTS[support])})
    chain = shaken(ChainConfig(first=FLOW, second=second, split=("e",)), space, None)
    x = chain.sample(3, noise=keyed(3))
    check(space, x, what="sample")
    assert chain.log_prob(x).isfinite().all()


def test_its_tolerance_is_the_looser_of_the_two():
    assert ChainConfig(first=FLOW, second=FLOW, split=("e",)).tolerance == "exact"
    assert ChainConfig(first=FLOW, second=FlowMatchingConfig(), split=("e",)).tolerance == "ode"


def test_a_lone_condition_is_joined_under_a_name():
    chain = shaken(ChainConfig(first=FLOW, second=FLOW, split=("e",)), SPACE, Vector(dim=1))
    x, c = draw(SPACE, 3, 1), draw(Vector(dim=1), 3, 2)
    assert torch.equal(chain.split.second_condition(c, x["e"])["condition"], c)
    assert chain.log_prob(x, c).shape == (3,)


@pytest.mark.parametrize(
    ("space", "condition", "split", "sentence"),
    [
        (Vector(dim=2), None, ("e",), "expected samples of several named parts, found a vector"),
        (SPACE, None, ("vv",), r'there is no part "vv"\. Did you mean "v"\?'),
        (SPACE, None, ("e", "v", "w"), "are all the parts there are"),
        (SPACE, Product(parts={"e": Vector(dim=1)}), ("e",), r"\['e'\] name parts of both"),
    ],
)
def test_impossible_chains_are_refused(space, condition, split, sentence):
    with pytest.raises(ConfigError, match=sentence):
        ChainConfig(first=FLOW, second=FLOW, split=split).build(space, condition)
