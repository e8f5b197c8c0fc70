"""Masked networks: connections of rising degree, and outputs that depend on earlier positions only."""

import pytest
import torch
from maquette.core.nets.masked import MaskedLinear, MaskedMLP, evenly_spaced_degrees
from torch import nn
from torch.nn import functional as F


def test_masked_weights_connect_units_of_rising_degree():
    layer = MaskedLinear(3, 2)
    weight = layer.masked_weight(torch.tensor([0, 1, 2]), torch.tensor([1, 0]))
    assert torch.equal(weight != 0, torch.tensor([[True, True, False], [True, False, False]]))
    x = torch.randn(5, 3)
    torch.testing.assert_close(layer(x, torch.tensor([0, 1, 2]), torch.tensor([1, 0])), x @ weight.T + layer.bias)


@pytest.mark.parametrize(("lowest", "highest", "units"), [(1, 9, 9), (1, 9, 100), (0, 3, 4), (0, 0, 5)])
def test_every_degree_is_used(lowest, highest, units):
    assert sorted(set(evenly_spaced_degrees(lowest, highest, units).tolist())) == list(range(lowest, highest + 1))


@pytest.mark.parametrize("skip", [None, nn.Identity(), F.softsign])
@pytest.mark.parametrize("positions", [[2, 0, 1, 3], [0, 0, 1, 1]], ids=str)
def test_outputs_depend_on_exactly_the_earlier_positions_and_the_context(positions, skip):
    positions = torch.tensor(positions)
    network = MaskedMLP(positions, 2, (16, 16), context_features=3, embed_dim=2, activation=F.silu, skip=skip).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    x, context = torch.randn(8, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    by_x, by_context = torch.autograd.functional.jacobian(lambda x, c: network(x, c).sum(1), (x, context))
    seen = (by_x.unflatten(1, (4, 2)) != 0).all(2)
    assert torch.equal(seen, positions[:, None] > positions)
    assert torch.equal((by_x.unflatten(1, (4, 2)) != 0).any(2), seen)
    assert (by_context != 0).all()


def test_several_sets_of_masks_share_the_weights():
    orders = torch.tensor([[0, 1, 2], [2, 1, 0]])
    network = MaskedMLP(orders, 1, (8,)).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(3, dtype=torch.float64)
    for m, positions in enumerate(orders):
        jacobian = torch.autograd.functional.jacobian(lambda x, m=m: network(x, None, m)[:, 0], x)
        assert torch.equal(jacobian != 0, positions[:, None] > positions)
