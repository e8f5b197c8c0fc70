"""Autoregressive flows: what depends on what, and in how many passes."""

import pytest
import torch
from maquette.core.families.flows.autoregressive import AutoregressiveFlowConfig
from maquette.core.families.flows.circular_spline import CircularSplineConfig
from maquette.core.families.flows.spline import SplineConfig
from maquette.core.spaces import Real, Torus, Vector
from maquette.core.testing.bench import shaken


@pytest.mark.parametrize("reverse", [False, True])
def test_an_autoregressive_jacobian_is_triangular(reverse):
    flow = shaken(SplineConfig(scheme="autoregressive", transforms=2, hidden=(16,), bins=4), Vector(dim=5), None)
    jacobian = torch.autograd.functional.jacobian(
        flow.transforms[int(reverse)](None), torch.randn(5, dtype=torch.float64)
    )
    above = jacobian.tril(-1) if reverse else jacobian.triu(1)
    assert (above == 0).all()
    assert (jacobian.diagonal() > 0).all()


@pytest.mark.parametrize(
    ("hidden", "context", "passes"),
    [((4, 3), 0, None), ((4,), 1, None), ((11, 3), 1, None), ((11, 11), 0, None), ((), 0, None), ((3,), 0, 4)],
)
def test_a_masked_network_sees_all_features_of_the_blocks_before(hidden, context, passes):
    condition = Vector(dim=context) if context else None
    config = AutoregressiveFlowConfig(transforms=1, hidden=hidden, passes=passes)
    network = shaken(config, Vector(dim=12), condition, scale=0.5).transforms[0].network
    context = torch.ones(1, context, dtype=torch.float64) if context else None
    x = torch.randn(12, dtype=torch.float64)
    seen = torch.autograd.functional.jacobian(lambda x: network(x[None], context)[0].sum(1), x) != 0
    (blocks,) = network.positions
    assert torch.equal(seen, blocks[:, None] > blocks)
    assert len(blocks.unique()) == (passes or 12)


def test_passes_make_blocks():
    flow = shaken(
        SplineConfig(scheme="autoregressive", transforms=1, hidden=(16,), bins=4, passes=2), Vector(dim=6), None
    )
    z = torch.randn(3, 6, dtype=torch.float64)
    torch.testing.assert_close(flow.encode(flow.decode(z)), z, rtol=0, atol=1e-10)


def test_a_single_feature_is_transformed_by_a_network():
    """Its parameters are a nonlinear function of the context: second differences are not zero."""
    for config, support in (
        (AutoregressiveFlowConfig(transforms=1, hidden=(8,)), Real()),
        (CircularSplineConfig(transforms=3, hidden=(8,), bins=4), Torus()),
    ):
        flow = shaken(config, Vector(dim=1, support=support), Vector(dim=1), scale=0.5)
        found = flow.transforms[-1].network(torch.tensor([[0.0], [1.0], [2.0]], dtype=torch.float64))
        assert ((found[2] - found[1]) - (found[1] - found[0])).abs().max() > 1e-3
    assert len(flow.transforms) == 1 + 3


def test_iaf_is_the_inverse_of_maf():
    """With the same weights each encodes as the other decodes."""
    maf, iaf = (
        shaken(AutoregressiveFlowConfig(quick=quick, transforms=1, hidden=(8,)), Vector(dim=4), None)
        for quick in ("density", "sampling")
    )
    x = torch.randn(5, 4, dtype=torch.float64)
    torch.testing.assert_close(iaf.encode(x), maf.decode(x), rtol=0, atol=1e-10)
    torch.testing.assert_close(iaf.decode(x), maf.encode(x), rtol=0, atol=1e-10)
