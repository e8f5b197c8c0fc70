"""Optimisers do what their configs say; decay acts on matrices and kernels; state belongs to names."""

import re

import pytest
import torch
from maquette.core.engine import optimizers
from maquette.core.engine.plan import OptimizerConfig
from maquette.core.engine.state import load_optimizer, pack
from maquette.core.families import families
from maquette.core.families.flows.coupling import CouplingConfig
from maquette.core.nets.transformer import PatchTransformerConfig
from maquette.core.nets.unet import UNetConfig
from maquette.core.spaces import Field
from maquette.core.testing.bench import objectives
from maquette.core.testing.cover import largest
from torch import nn

SMALL_UNET = UNetConfig(widths=(4, 8), strides=(2,), depth=1, attention=(1,), heads=2, groups=2)


@pytest.mark.parametrize(("kind", "decoupled"), [("adamw", True), ("adam", False)])
def test_weight_decay_is_decoupled_from_the_gradient_in_adamw_alone(kind: str, decoupled: bool) -> None:
    """A weight without gradient shrinks by lr x decay (arXiv:1711.05101); under Adam it takes a whole step."""
    layer = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.ones_(layer.weight)
    config = OptimizerConfig(kind=kind, lr=0.1, weight_decay=0.5)
    optimizer = optimizers.build(config, dict(layer.named_parameters()), [layer])
    assert optimizer is not None
    layer.weight.grad = torch.zeros_like(layer.weight)
    optimizer.step()
    assert layer.weight.item() == pytest.approx(0.95 if decoupled else 0.9, abs=1e-6)


@pytest.mark.parametrize("kind", ["adamw", "adam", "sgd"])
def test_biases_and_normalisations_keep_their_values_where_matrices_decay(kind: str) -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm((2, 3)), nn.Embedding(4, 3))
    for parameter in network.parameters():
        nn.init.ones_(parameter)
        parameter.grad = torch.zeros_like(parameter)
    config = OptimizerConfig(kind=kind, lr=0.1, weight_decay=0.5)
    optimizer = optimizers.build(config, dict(network.named_parameters()), [network])
    assert optimizer is not None
    optimizer.step()
    changed = [name for name, parameter in network.named_parameters() if not (parameter == 1).all()]
    assert changed == ["0.weight"]


def decaying(network: nn.Module) -> list[str]:
    exempt = optimizers.undecayed([network])
    return [name for name, parameter in network.named_parameters() if id(parameter) not in exempt]


@pytest.mark.parametrize(
    "name", [name for name, config in families.items() if config.__module__.startswith("maquette.")]
)
def test_what_decays_in_a_family_is_called_neither_bias_nor_norm_nor_position(name: str) -> None:
    config = families.get(name).example()
    for _, _, networks in objectives(config.build(*largest(config))):
        for network in networks:
            wrong = [each for each in decaying(network) if re.search(r"bias|norm|positions", each)]
            assert not wrong


def test_what_decays_in_a_network_are_its_projections_and_kernels() -> None:
    field = Field(channels=1, grid=(4, 4))
    transformer = PatchTransformerConfig(width=4, depth=1, heads=2, patch=(2, 2)).build(field, time=True)
    assert set(decaying(transformer)) == {
        *(f"patches.{name}.0" for name in ("in_proj", "out_proj")),
        *(f"conditioner.{name}.weight" for name in ("hidden", "out")),
        "modulation.linear.weight",
        *(f"blocks.0.{name}.weight" for name in ("attention.qkv", "attention.out", "up", "down")),
    }
    unet = SMALL_UNET.build(field)
    names = {name for name, _ in unet.named_parameters()}
    assert names - set(decaying(unet)) == {
        name for name in names if name.endswith("bias") or "norm" in name or "constant" in name
    }


def test_state_of_an_optimiser_goes_to_the_parameter_of_its_name() -> None:
    weights = {name: nn.Parameter(torch.ones(2, 2)) for name in ("a", "b")}
    network = nn.ParameterDict(weights)
    optimizer = optimizers.build(OptimizerConfig(), weights, [network])
    assert optimizer is not None
    for factor, weight in zip((1.0, 2.0), weights.values(), strict=True):
        weight.grad = torch.full_like(weight, factor)
    optimizer.step()
    tensors: dict[str, torch.Tensor] = {}
    packed = pack({name: optimizer.state[weight] for name, weight in weights.items()}, "adam", tensors)
    turned = {name: nn.Parameter(torch.ones(2, 2)) for name in ("b", "a")}
    other = optimizers.build(OptimizerConfig(), turned, [nn.ParameterDict(turned)])
    assert other is not None
    load_optimizer(other, packed, turned, tensors)
    for name, weight in turned.items():
        assert torch.equal(other.state[weight]["exp_avg"], optimizer.state[weights[name]]["exp_avg"])


def test_a_flow_learns_alike_in_one_group_or_two() -> None:
    """Without decay the groups change no bit."""
    torch.manual_seed(0)
    flow = CouplingConfig.example().build(Field(channels=1, grid=(2, 2)))
    names = dict(flow.named_parameters())
    optimizer = optimizers.build(OptimizerConfig(lr=0.1), names, [flow])
    assert optimizer is not None
    assert len(optimizer.param_groups) == 2
    copies = {name: nn.Parameter(parameter.detach().clone()) for name, parameter in names.items()}
    plain = torch.optim.AdamW(copies.values(), 0.1, (0.9, 0.99), weight_decay=0.0, fused=True)
    for _ in range(3):
        for name, parameter in names.items():
            parameter.grad = torch.randn_like(parameter)
            copies[name].grad = parameter.grad.clone()
        optimizer.step()
        plain.step()
    assert all(torch.equal(copies[name], parameter) for name, parameter in names.items())
