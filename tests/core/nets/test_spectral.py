"""Spectral normalisation and regularisation without state: singular values at most one, or penalised."""

import torch
from maquette.core.nets.spectral import SpectralPenalty, spectral_norm
from torch import nn


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(7, 9), nn.Conv1d(3, 5, 3), nn.Linear(4, 4))


def test_large_weights_are_scaled_to_one():
    module = net()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(30)
    before = [layer.weight.detach().clone() for layer in module]
    spectral_norm(module, n_power_iterations=50)
    for layer, weight in zip(module, before, strict=True):
        sigma = torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2)
        torch.testing.assert_close(sigma, torch.tensor(1.0), rtol=1e-3, atol=0)
        ratio = layer.weight / weight
        torch.testing.assert_close(ratio, ratio.flatten()[0].expand_as(ratio))


def test_a_few_iterations_are_enough_by_default():
    """At most 15% above one for random weights; without any iteration, it would be some 50%."""
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        layer = nn.Linear(40, 40)
        layer.weight.data = torch.randn(40, 40, generator=generator)
        sigma = torch.linalg.matrix_norm(spectral_norm(layer).weight, ord=2)
        assert 0.999 < sigma < 1.15


def test_small_weights_are_left_alone():
    module = net()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(0.01)
    before = [layer.weight.detach().clone() for layer in module]
    spectral_norm(module)
    assert all(torch.equal(layer.weight, weight) for layer, weight in zip(module, before, strict=True))


def test_a_zero_layer_gets_a_finite_gradient():
    layer = nn.Sequential(nn.Linear(3, 2))
    nn.init.zeros_(layer[0].weight)
    spectral_norm(layer)
    layer(torch.ones(1, 3)).sum().backward()
    gradient = next(parameter.grad for name, parameter in layer.named_parameters() if "original" in name)
    torch.testing.assert_close(gradient, torch.ones(2, 3))


def test_nothing_changes_between_calls():
    module = spectral_norm(nn.Sequential(nn.Linear(5, 5)))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    first, second = module[0].weight, module[0].weight
    assert torch.equal(first, second)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_the_penalty_is_the_sum_of_largest_singular_values():
    module = nn.Sequential(*net(), nn.Linear(4, 4), nn.ConvTranspose2d(2, 3, 2)).double()
    penalty = SpectralPenalty(module, n_power_iterations=200).double()
    assert not list(penalty.parameters()), "the layers are the network's"
    expected = sum(torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2) for layer in module)
    torch.testing.assert_close(penalty(), expected, rtol=1e-6, atol=0)
    weight = module[2].weight
    (slope,) = torch.autograd.grad(penalty(), weight)
    u, _, v = torch.linalg.svd(weight)
    torch.testing.assert_close(slope, torch.outer(u[:, 0], v[0]), rtol=0, atol=1e-4)
