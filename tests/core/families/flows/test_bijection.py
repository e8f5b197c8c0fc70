"""Bijections: what a subclass must define, and what torch's and zuko's interfaces make of it."""

import math

import pytest
import torch
from maquette.core.families.flows.bijection import (
    Bijection,
    DependentTransform,
    InverseTransform,
    LazyTransform,
    RescaleTransform,
    Unconditional,
    ZukoTransform,
)
from maquette.core.families.flows.elementwise import AffineTransform
from zuko.transforms import PermutationTransform

X = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
SCALES = torch.tensor([2.0, 3.0, 0.5], dtype=torch.float64)
AFFINE = DependentTransform(AffineTransform(torch.ones(3, dtype=torch.float64), SCALES.log()))


@pytest.mark.parametrize("base", [Bijection, LazyTransform])
def test_a_subclass_without_its_methods_cannot_be_built(base):
    with pytest.raises(TypeError, match="abstract"):
        type("Incomplete", (base,), {})()


@pytest.mark.parametrize(
    ("transform", "ladj"),
    [
        (AFFINE, math.log(3)),
        (InverseTransform(AFFINE), -math.log(3)),
        (RescaleTransform(-100.0, 100.0, -5.0, 5.0), 3 * math.log(0.05)),
        (ZukoTransform(PermutationTransform(torch.tensor([2, 0, 1]))), 0.0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Bijection) else "",
)
def test_values_inverses_and_log_determinants_agree(transform, ladj):
    y, found = transform.call_and_ladj(X)
    torch.testing.assert_close(found, torch.full((7,), ladj, dtype=torch.float64))
    jacobian = torch.autograd.functional.jacobian(transform, X[0])
    assert torch.linalg.slogdet(jacobian).logabsdet.item() == pytest.approx(ladj)
    torch.testing.assert_close(transform(X), y)
    torch.testing.assert_close(transform.log_abs_det_jacobian(X, y), found)
    torch.testing.assert_close(transform.inverse(y), X)
    torch.testing.assert_close(transform.inv(y), X)


def test_rescaling_back_stays_in_the_interval():
    low, high = 0.1, 0.7
    rescale = RescaleTransform(low, high, -5.0, 5.0)
    assert rescale.inverse(torch.tensor([-5.001, 5.001])).tolist() == pytest.approx([low, high])
    assert Unconditional(rescale)(torch.zeros(2, 4)) is rescale
    assert repr(Unconditional(rescale)) == "Unconditional(RescaleTransform(low=0.1, high=0.7, start=-5, scale=16.6667))"
