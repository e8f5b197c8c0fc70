"""Running moments are those of all masked values, however they come in blocks."""

import torch
from maquette.core.statistics.moments import RunningMoments


def test_blocks_add_up_to_the_moments_of_all_values() -> None:
    torch.manual_seed(0)
    values, mask = torch.randn(100, 3), torch.rand(100, 3) < 0.6
    moments = RunningMoments((3,))
    for value, kept in zip(values.split(17), mask.split(17), strict=True):
        moments.add(value, kept)
    for k in range(3):
        known = values[mask[:, k], k].double()
        torch.testing.assert_close(moments.mean[k], known.mean())
        torch.testing.assert_close(moments.std[k], known.std(correction=0))


def test_masked_values_do_not_count_even_where_they_are_not_finite() -> None:
    moments = RunningMoments((2,))
    moments.add(torch.tensor([[1.0, torch.nan], [3.0, torch.inf]]), torch.tensor([[True, False], [True, False]]))
    assert moments.mean.tolist() == [2.0, 0.0]
    assert moments.std.tolist() == [1.0, 1.0]  # one without values
    assert moments.mean.dtype == torch.float64
