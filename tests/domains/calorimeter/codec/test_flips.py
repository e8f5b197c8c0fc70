"""How showers of an exported file are compared with those of the Python sampler."""

import pytest
import torch
from maquette.domains.calorimeter.codec.flips import flips
from maquette.domains.disagreement import Disagreement
from torch import Tensor


def disagreement(expected: Tensor, found: Tensor) -> Disagreement:
    """Of showers of 1 MeV in two layers."""
    half = expected.shape[1] // 2
    return flips(expected, found, torch.ones(len(expected), 1), torch.tensor([0] * half + [1] * half))


def agree(expected: Tensor, found: Tensor) -> bool:
    return all(one.holds for one in disagreement(expected, found).values())


def test_nan_agrees_with_nothing() -> None:
    one = torch.ones(3, 2)
    assert not agree(one, torch.full((3, 2), torch.nan))
    assert not agree(0 * one, torch.full((3, 2), torch.nan))
    assert not agree(one, torch.where(torch.eye(3, 2) == 1, torch.nan, one))
    assert agree(one, one)


def test_a_flip_hides_only_what_it_changes() -> None:
    """Its layer keeps its energy, and the other layers of the shower their deposits."""
    expected = torch.full((1000, 200), 0.1)
    expected[0, 0] = 0
    flip = expected.clone()
    flip[0, :3] = torch.tensor([0.04, 0.09, 0.07])
    assert agree(expected, flip)
    lost, elsewhere, everywhere = flip.clone(), flip.clone(), expected.clone()
    lost[0, 0] = 0.05
    assert disagreement(expected, lost)["largest_difference_of_sums"].value == pytest.approx(0.01, rel=1e-4)
    elsewhere[0, 150:152] += torch.tensor([0.02, -0.02])
    assert disagreement(expected, elsewhere)["largest_difference"].value == pytest.approx(0.02, rel=1e-4)
    everywhere[:, 0] = 0.1 - expected[:, 0]
    assert not agree(expected, everywhere)


def test_a_layer_that_rounding_empties_counts_as_flips() -> None:
    expected = torch.full((1000, 200), 0.1)
    expected[0, 1:100] = 0
    found = expected.clone()
    found[0, 0] = 0
    found[0, 100:] = 0.101
    assert agree(expected, found)
    found[1:20, :100] = 0
    assert not agree(expected, found)
