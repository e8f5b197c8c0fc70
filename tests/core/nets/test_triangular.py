"""Features that see those before them, by sums over a triangle of weights."""

import torch
from maquette.core.nets.triangular import ChannelHead, StrictlyLower


def test_every_feature_sums_over_those_before_it():
    layer = StrictlyLower(4, 2, 3, 5).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    x, c = torch.randn(6, 4, 2, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)
    expected = layer.bias + layer.context_proj(c).view(6, 4, 5)
    for (i, j), weight in zip(layer.pairs.T.tolist(), layer.weight, strict=True):
        assert j < i
        expected[:, i] = expected[:, i] + x[:, j] @ weight.T
    torch.testing.assert_close(layer(x, c), expected)


def test_channels_of_a_position_see_only_those_before_them():
    head = ChannelHead(3, 1, 4, 2).double()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    hidden = torch.randn(1, 4, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(
        lambda x: head(x[None, :, None], hidden)[0].sum(1), torch.randn(3, dtype=torch.float64)
    )
    assert (jacobian.triu() == 0).all()
    assert (jacobian[torch.tril_indices(3, 3, -1).unbind()] != 0).all()
