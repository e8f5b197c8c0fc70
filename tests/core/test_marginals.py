"""Marginals as tables: of signed values with an exact line, some of them absent."""

import pytest
import torch
from maquette.core.marginals import MarginalHistogram, MarginalMap
from torch import Tensor

N = 4000


def data(scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Values (N, 4) and where they are present: always; in a third, half of it a line; in half; and never."""
    generator = torch.Generator().manual_seed(0)
    value = scale * (torch.randn(N, 4, generator=generator) * torch.tensor([1.0, 0.2, 2.0, 2.0]) - 1)
    value[: N // 2, 1] = 0.3 * scale
    rate = torch.tensor([1.0, 1 / 3, 0.5, 0.0])
    present = torch.rand(N, 4, generator=generator) < rate
    return value, present


def fitted(scale: float = 1.0) -> MarginalMap:
    value, present = data(scale)
    group = torch.tensor([0, 1, 2, 2])
    histogram = MarginalHistogram(group, low=-12 * scale, high=12 * scale, resolution=1e-4 * scale)
    for rows in torch.arange(N).split(1500):
        histogram.add(value[rows], present[rows])
    marginals = MarginalMap(4)
    marginals.fit(histogram)
    return marginals


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
def test_coordinates_are_standard_normal_and_map_back(scale: float) -> None:
    value, present = data(scale)
    marginals = fitted(scale)
    z = marginals.coordinate(value, present, torch.rand(N, 4, generator=torch.Generator().manual_seed(1)))
    probabilities = torch.special.ndtr(z).sort(0).values
    uniform = (torch.arange(N) + 0.5)[:, None] / N
    # the line has its width in values only: its coordinates coincide
    assert (probabilities - uniform).abs().max(0).values[[0, 2, 3]].max() < 0.025
    back = marginals.value(z)
    torch.testing.assert_close(back[present], value[present], rtol=1e-4, atol=1e-3 * scale)
    lowest = marginals.heights[:, 0].expand_as(back)
    assert (back <= lowest)[~present].all()
    assert (back >= lowest)[present].all()


def test_features_that_are_rarely_present_follow_their_group() -> None:
    """The fourth was never seen, so its quartiles are those of the third, with which it has a group."""
    marginals = fitted()
    absent = torch.special.ndtr(marginals.boundary.double())
    level = torch.tensor([[0.25], [0.5], [0.75]], dtype=torch.float64)
    quartiles = marginals.value(torch.special.ndtri(absent + (1 - absent) * level).float())
    assert quartiles[1, 2].item() == pytest.approx(-1, abs=0.2)
    torch.testing.assert_close(quartiles[:, 3], quartiles[:, 2], atol=0.05, rtol=0)


def test_the_slope_is_that_of_the_map() -> None:
    value, present = data()
    marginals = fitted().double()
    rows = slice(0, 50)
    value, present = value[rows].double().requires_grad_(), present[rows]
    uniform = torch.rand(50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    z = marginals.coordinate(value, present, uniform)
    of_value, of_uniform = torch.autograd.grad(z.sum(), (value, uniform))
    slope = torch.where(present, of_value, of_uniform).log()
    torch.testing.assert_close(marginals.log_slope(value, present, z), slope)
