"""A family whose network takes fields keeps the laws given a field, and given a field and a vector."""

import pytest
from maquette.core.errors import ConfigError
from maquette.core.families.chain import ChainConfig
from maquette.core.families.diffusion.distilled import DistilledConfig
from maquette.core.families.diffusion.flow_matching import FlowMatchingConfig
from maquette.core.families.flows.linear import LinearConfig
from maquette.core.families.sampling import GuidedSamplerConfig
from maquette.core.grids import with_grid
from maquette.core.layout import Layout
from maquette.core.nets.unet import UNetConfig
from maquette.core.spaces import Field, Product, Vector
from maquette.core.testing.cover import cases
from maquette.core.testing.laws import LAWS

FIELDS = FlowMatchingConfig(
    network=UNetConfig(widths=(4,), strides=(), depth=1, attention=(0,), heads=2, groups=2),
    sampler=GuidedSamplerConfig(steps=2),
)
TRIED = ["sample", "sample-index", "sample-condition", "saving", "gradients", "purity", "losses", "at"]


@pytest.mark.parametrize("law", TRIED)
def test_laws_of_field_conditions(law):
    given = [case for case in cases(FIELDS) if Layout(*case).field_conditions]
    assert [Layout(*case).vector_features for case in given] == [0, 2]
    for case in given:
        LAWS[law].check(FIELDS, *case)


@pytest.mark.parametrize("family", ["optional", "distilled", "chain"])
def test_what_contains_such_a_model_samples_other_grids_too(family):
    """With conditions that may be left out, as a student, and as the second family of a chain."""
    field = Field(channels=1, grid=(4,))
    space, config = field, FIELDS.model_copy(update={"drop": 0.2})
    if family == "distilled":
        config = DistilledConfig(teacher=FIELDS, evaluations=1)
    elif family == "chain":
        space = Product(parts={"a": Vector(dim=1), "b": field})
        config = ChainConfig(first=LinearConfig(), second=FIELDS, split=("a",))
    assert config.build(space, field).at(with_grid(space, (6,)))  # it does not refuse, so the law is not empty
    LAWS["at"].check(config, space, field if family != "chain" else None)


def test_a_chain_refuses_what_one_of_its_families_cannot():
    field = Field(channels=1, grid=(4,))
    space = Product(parts={"a": field, "b": field})
    config = ChainConfig(first=LinearConfig(), second=FIELDS, split=("a",))
    with pytest.raises(ConfigError, match=r"the weights of Flow \(first\) belong to one grid"):
        config.build(space).at(with_grid(space, (6,)))
    two = Product(parts={"a": field, "b": Vector(dim=2)})
    with pytest.raises(ConfigError, match="takes what the first one samples as a condition of one size"):
        ChainConfig(first=FIELDS, second=LinearConfig(), split=("a",)).build(two).at(with_grid(two, (6,)))
