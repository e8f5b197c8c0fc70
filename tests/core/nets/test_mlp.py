"""The multi-layer perceptron: its layers, and the concatenation of sample, context and time."""

import torch
from maquette.core.context import Context
from maquette.core.nets.mlp import MLP, MLPBackbone
from torch import nn


def test_layers_alternate_with_silu():
    net = MLP(3, (8, 4), 2)
    assert [(layer.in_features, layer.out_features) for layer in net if isinstance(layer, nn.Linear)] == [
        (3, 8),
        (8, 4),
        (4, 2),
    ]
    assert all(isinstance(layer, nn.SiLU) for layer in list(net)[1::2])
    assert len(MLP(3, (), 2)) == 1


def test_a_backbone_concatenates_sample_context_and_time():
    net = MLPBackbone(3, 2, (), time=True)
    nn.init.normal_(net.net[0].weight)
    x, time, context = torch.randn(4, 3), torch.rand(4), torch.randn(4, 2)
    inputs = torch.cat((x, context, net.time(time)), dim=1)
    torch.testing.assert_close(net(x, time, Context(context)), net.net[0](inputs))
