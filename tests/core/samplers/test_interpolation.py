"""Paths between points: their ends, their lengths and their speed."""

import pytest
import torch
from maquette.core.samplers.interpolation import lerp, slerp
from maquette.core.testing.bench import keyed

TIMES = torch.linspace(0, 1, 7, dtype=torch.float64)


def codes(seed):
    return keyed(5, seed=seed).normal("z", (8,))


@pytest.mark.parametrize("path", [lerp, slerp])
def test_paths_go_from_end_to_end(path):
    a, b = codes(1), codes(2)
    path_points = path(a, b, TIMES)
    assert path_points.shape == (7, 5, 8)
    torch.testing.assert_close(path_points[0], a)
    torch.testing.assert_close(path_points[-1], b)


def test_the_spherical_path_has_linear_lengths_and_constant_speed():
    a, b = codes(1), codes(2)
    path_points = slerp(a, b, TIMES)
    lengths = torch.lerp(a.norm(dim=1), b.norm(dim=1), TIMES[:, None])
    torch.testing.assert_close(path_points.norm(dim=2), lengths)
    directions = path_points / path_points.norm(dim=2, keepdim=True)
    steps = torch.acos((directions[1:] * directions[:-1]).sum(2))
    torch.testing.assert_close(steps, steps[:1].expand(6, -1))


def test_codes_along_one_line_are_joined_straight():
    a = codes(1)
    for b in (2 * a, -a, torch.zeros_like(a)):
        torch.testing.assert_close(slerp(a, b, TIMES), lerp(a, b, TIMES))
