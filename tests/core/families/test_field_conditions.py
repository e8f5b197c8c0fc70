"""A family whose network takes fields keeps the laws given a field, and given a field and a vector."""

import pytest
from maquette.core.families.diffusion.flow_matching import FlowMatchingConfig
from maquette.core.families.sampling import GuidedSamplerConfig
from maquette.core.layout import Layout
from maquette.core.nets.unet import UNetConfig
from maquette.core.testing.cover import cases
from maquette.core.testing.laws import LAWS

FIELDS = FlowMatchingConfig(
    network=UNetConfig(widths=(4,), strides=(), depth=1, attention=(0,), heads=2, groups=2),
    sampler=GuidedSamplerConfig(steps=2),
)
TRIED = ["sample", "sample-index", "sample-condition", "saving", "gradients", "purity", "losses"]


@pytest.mark.parametrize("law", TRIED)
def test_laws_of_field_conditions(law):
    given = [case for case in cases(FIELDS) if Layout(*case).field_conditions]
    assert [Layout(*case).vector_features for case in given] == [0, 2]
    for case in given:
        LAWS[law].check(FIELDS, *case)
