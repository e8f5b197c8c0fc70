"""How an exported file is compared with the Python sampler."""

import pytest
import torch
from maquette.pipelines.exporting.agreement import Agreement, agreement
from torch import Tensor


def agree(expected: Tensor, found: Tensor) -> Agreement:
    """Of samples of scale one whose values make two groups."""
    half = expected.shape[1] // 2
    return agreement(expected, found, torch.ones(len(expected), 1), torch.tensor([0] * half + [1] * half))


def test_nan_agrees_with_nothing() -> None:
    one = torch.ones(3, 2)
    assert not agree(one, torch.full((3, 2), torch.nan)).holds
    assert not agree(0 * one, torch.full((3, 2), torch.nan)).holds
    assert not agree(one, torch.where(torch.eye(3, 2) == 1, torch.nan, one)).holds
    assert agree(one, one).holds


def test_a_flip_hides_only_what_it_changes() -> None:
    """Its group keeps its sum, and the other groups of the sample their values."""
    expected = torch.full((1000, 200), 0.1)
    expected[0, 0] = 0
    flip = expected.clone()
    flip[0, :3] = torch.tensor([0.04, 0.09, 0.07])
    assert agree(expected, flip).holds
    lost, elsewhere, everywhere = flip.clone(), flip.clone(), expected.clone()
    lost[0, 0] = 0.05
    assert agree(expected, lost).sums == pytest.approx(0.01, rel=1e-4)
    elsewhere[0, 150:152] += torch.tensor([0.02, -0.02])
    assert agree(expected, elsewhere).difference == pytest.approx(0.02, rel=1e-4)
    everywhere[:, 0] = 0.1 - expected[:, 0]
    assert not agree(expected, everywhere).holds


def test_a_group_that_rounding_empties_counts_as_flips() -> None:
    expected = torch.full((1000, 200), 0.1)
    expected[0, 1:100] = 0
    found = expected.clone()
    found[0, 0] = 0
    found[0, 100:] = 0.101
    assert agree(expected, found).holds
    found[1:20, :100] = 0
    assert not agree(expected, found).holds
