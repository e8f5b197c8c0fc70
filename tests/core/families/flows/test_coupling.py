"""Couplings: one half of the features transforms the other, and permutations change the halves."""

import pytest
import torch
from maquette.core.errors import ConfigError
from maquette.core.families.flows.coupling import Coupling, CouplingConfig
from maquette.core.families.flows.spline import SplineConfig
from maquette.core.spaces import Vector
from maquette.core.testing.bench import shaken


def test_a_coupling_transforms_one_half_given_the_other():
    flow = shaken(SplineConfig(transforms=2, hidden=(8,), bins=4), Vector(dim=6), None)
    _, first, second = flow.transforms
    x = torch.randn(6, dtype=torch.float64)
    for coupling, transformed in ((first, slice(3, 6)), (second, slice(0, 3))):
        jacobian = torch.autograd.functional.jacobian(coupling(None), x)
        identity = [d for d in range(6) if d not in range(6)[transformed]]
        assert torch.equal(jacobian[identity][:, identity], torch.eye(3, dtype=torch.float64))
        assert (jacobian[identity][:, transformed] == 0).all()
        inner = jacobian[transformed][:, transformed]
        assert torch.equal(inner, inner.diagonal().diag())
        assert (jacobian[transformed][:, identity] != 0).any()


def test_permutations_change_the_halves():
    """A pair transforms every feature once; which half goes first differs from pair to pair."""
    flow = CouplingConfig(transforms=12, hidden=()).build(Vector(dim=6))
    halves = []
    for lazy in flow.transforms:
        if isinstance(lazy, Coupling):
            lazy.network.register_forward_pre_hook(lambda _, inputs: halves.append(frozenset(inputs[0][0].tolist())))
    flow.encode(torch.arange(6.0)[None])  # an untrained flow moves features, but does not change them
    firsts, seconds = halves[::2], halves[1::2]
    assert [a | b for a, b in zip(firsts, seconds, strict=True)] == 6 * [frozenset(range(6))]
    assert [len(a) for a in firsts] == 6 * [3]
    assert len(set(halves)) > 2


@pytest.mark.parametrize(
    ("config", "dim", "sentence"),
    [
        (SplineConfig(), 1, "needs at least 2 features per sample, found 1; use an autoregressive"),
        (SplineConfig(transforms=3), 4, "couplings come in pairs, found 3"),
    ],
)
def test_impossible_flows_are_refused(config, dim, sentence):
    with pytest.raises(ConfigError, match=sentence):
        config.build(Vector(dim=dim))


def test_additive_couplings_preserve_volume_up_to_the_final_scales():
    flow = shaken(CouplingConfig(bijection="additive", transforms=2, hidden=(8,)), Vector(dim=4), None)
    *shifts, scales = flow.transforms
    x = torch.randn(6, 4, dtype=torch.float64)
    for lazy in shifts:
        x, ladj = lazy(None).call_and_ladj(x)
        assert torch.equal(ladj, torch.zeros(6, dtype=torch.float64))
    assert (scales(None).call_and_ladj(x)[1] != 0).all()
