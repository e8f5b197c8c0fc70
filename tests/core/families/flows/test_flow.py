"""What all flows have in common: laws of their variants, refusals, compilation."""

import math

import pytest
import torch
from maquette.core.config import parse
from maquette.core.errors import ConfigError
from maquette.core.families.flows.autoregressive import AutoregressiveFlowConfig
from maquette.core.families.flows.circular_spline import CircularSplineConfig
from maquette.core.families.flows.coupling import CouplingConfig
from maquette.core.families.flows.dequantised import VariationalDequantiserConfig
from maquette.core.families.flows.monotonic import MonotonicConfig
from maquette.core.families.flows.planar import PlanarConfig
from maquette.core.families.flows.residual_flow import ResidualFlowConfig
from maquette.core.families.flows.spline import SplineConfig
from maquette.core.nets.mlp import MLPConfig
from maquette.core.spaces import Vector
from maquette.core.testing.bench import shaken
from maquette.core.testing.laws import LAWS

VARIANTS = [
    CouplingConfig(bijection="additive", transforms=2, hidden=(8,)),
    AutoregressiveFlowConfig(quick="sampling", transforms=2, hidden=(8,)),
    SplineConfig(scheme="coupling", transforms=2, hidden=(8,), bins=4),
    PlanarConfig(shape="radial", steps=3),
]


@pytest.mark.parametrize("law", ["normalised", "sample-density", "inverse", "log-det", "gradients", "losses"])
@pytest.mark.parametrize("config", VARIANTS, ids=lambda config: config.kind)
def test_variants_keep_the_laws(config, law):
    LAWS[law].check(config, Vector(dim=2), Vector(dim=2))


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        (SplineConfig, {"bins": 1001}),
        (SplineConfig, {"bound": math.inf}),
        (SplineConfig, {"hidden": (-1,)}),
        (CircularSplineConfig, {"bins": 1001}),
        (CouplingConfig, {"hidden": (8, 0)}),
        (AutoregressiveFlowConfig, {"hidden": (0,)}),
        (MonotonicConfig, {"slope": (-1,)}),
        (ResidualFlowConfig, {"hidden": (0,)}),
        (VariationalDequantiserConfig, {"hidden": (0,)}),
        (MLPConfig, {"hidden": (0,)}),
    ],
)
def test_impossible_values_are_refused(config, wrong):
    with pytest.raises(ConfigError, match=rf"{next(iter(wrong))}(\.\d)?: Input should be"):
        parse(config, wrong)


@pytest.mark.parametrize("config", [SplineConfig(transforms=2, hidden=(16,), bins=4), SplineConfig.example()])
def test_a_flow_compiles_as_one_graph(config):
    torch._dynamo.reset()
    flow = shaken(config, Vector(dim=4), Vector(dim=1))
    x, context = torch.randn(5, 4, dtype=torch.float64), torch.randn(5, 1, dtype=torch.float64)
    expected = flow(x, context)
    flow.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(flow(x, context), expected)
