"""Affine bijections, and parameters that are linear in the context."""

import torch
from maquette.core.families.flows.elementwise import Additive, Affine, ContextParameter, Elementwise
from maquette.core.layout import Layout
from maquette.core.spaces import Vector


def test_parameters_of_zero_are_the_identity():
    x = torch.randn(5, 3)
    for univariate in (Additive(), Affine()):
        y, ladj = univariate(torch.zeros(univariate.size, 3)).call_and_ladj(x)
        assert torch.equal(y, x)
        assert torch.equal(ladj, torch.zeros(5, 3))


def test_log_scales_stay_below_their_bound():
    _, ladj = Affine(bound=2.0)(torch.tensor([[0.0, 0.0], [1e6, -1e6]])).call_and_ladj(torch.ones(1, 2))
    assert (ladj.abs() <= 2).all()
    assert (ladj.abs() > 1.99).all()


def test_a_context_parameter_is_linear_in_the_context():
    parameter = ContextParameter(torch.randn(2, 3), context_features=4)
    with torch.no_grad():
        parameter.slope.normal_()
    c = torch.randn(5, 4)
    assert torch.equal(parameter(None), parameter.constant)
    expected = parameter.constant + torch.einsum("bc,pdc->bpd", c, parameter.slope)
    torch.testing.assert_close(parameter(c), expected)


def test_each_feature_is_transformed_by_itself():
    lazy = Elementwise(Layout(Vector(dim=3), Vector(dim=2)), Affine())
    with torch.no_grad():
        for weight in lazy.parameters():
            weight.normal_()
    transform = lazy(torch.randn(1, 2))
    jacobian = torch.autograd.functional.jacobian(transform, torch.randn(1, 3))[0, :, 0]
    assert torch.equal(jacobian, jacobian.diagonal().diag())
    assert repr(lazy).startswith("Elementwise(\n  univariate=Affine(bound=2.0, size=2)")
