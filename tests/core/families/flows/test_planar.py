"""Planar and radial steps."""

import pytest
import torch
from maquette.core.families.flows.planar import PlanarTransform, RadialTransform


@pytest.mark.parametrize("transform", [PlanarTransform, RadialTransform])
def test_steps_stay_invertible_whatever_their_parameters(transform):
    parameters = 4 * torch.randn(500, 9 if transform is PlanarTransform else 6, dtype=torch.float64)
    step, x = transform(parameters), 3 * torch.randn(500, 4, dtype=torch.float64)
    y, ladj = step.call_and_ladj(x)
    assert ladj.isfinite().all()
    torch.testing.assert_close(step.inv(y), x, rtol=0, atol=1e-6)  # 500 steps, some within 1e-6 of folding over


@pytest.mark.parametrize(
    ("transform", "steep"), [(PlanarTransform, [1.0, -40.0, 0.0]), (RadialTransform, [0.0, 0.0, -40.0])]
)
def test_steps_do_not_fold_over_in_single_precision(transform, steep):
    _, ladj = transform(torch.tensor(steep)).call_and_ladj(torch.zeros(1, 1))
    assert ladj.isfinite().all()


def test_gradients_of_the_planar_inverse_are_those_of_the_implicit_function():
    parameters = torch.randn(9, dtype=torch.float64, requires_grad=True)
    y = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p, y: PlanarTransform(p).inv(y), (parameters, y))
