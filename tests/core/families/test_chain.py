"""A chain is the product of its families: in its density, its samples, its stages and its refusals."""

import pytest
import torch
from maquette.core.capabilities import capabilities
from maquette.core.data import Batch
from maquette.core.errors import ConfigError
from maquette.core.families.autoregressive.nade import NADEConfig
from maquette.core.families.chain import ChainConfig
from maquette.core.families.diffusion.flow_matching import FlowMatchingConfig
from maquette.core.families.flows.circular_spline import CircularSplineConfig
from maquette.core.families.flows.spline import SplineConfig
from maquette.core.families.gan.gan import GANConfig
from maquette.core.noise import Recorder
from maquette.core.spaces import Field, Product, Vector, check
from maquette.core.testing.bench import SUPPORTS, draw, keyed, shaken

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
def test_acts_and_noise_bear_the_given_names(second, stages, tape):
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


@pytest.mark.parametrize("support", ChainConfig.supports)
def test_parts_may_live_wherever_some_family_has_them(support):
    second = {"real": FLOW, "interval": FLOW, "torus": CircularSplineConfig.example()}.get(
        support, NADEConfig.example()
    )
    space = Product(parts={"e": Vector(dim=2), "v": Vector(dim=2, support=SUPPORTS[support])})
    chain = shaken(ChainConfig(first=FLOW, second=second, split=("e",)), space, None)
    x = chain.sample(3, noise=keyed(3))
    check(space, x, what="sample")
    assert chain.log_prob(x).isfinite().all()


def test_its_tolerance_is_the_looser_one():
    assert ChainConfig(first=FLOW, second=FLOW, split=("e",)).tolerance == "exact"
    assert ChainConfig(first=FLOW, second=FlowMatchingConfig(), split=("e",)).tolerance == "ode"


def test_a_lone_condition_is_joined_under_a_name():
    chain = shaken(ChainConfig(first=FLOW, second=FLOW, split=("e",)), SPACE, Vector(dim=1))
    x, c = draw(SPACE, 3, 1), draw(Vector(dim=1), 3, 2)
    assert torch.equal(chain.split.given(c, x["e"])["condition"], c)
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
