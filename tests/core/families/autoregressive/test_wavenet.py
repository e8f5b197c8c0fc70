"""WaveNet: its receptive field, its skips, and a constant cost per step."""

import pytest
import torch
from maquette.core.errors import ConfigError
from maquette.core.families.autoregressive.wavenet import WaveNetConfig
from maquette.core.nets.causal import CausalConv1d
from maquette.core.spaces import Binary, Field, Sequence, Vector
from maquette.core.testing.bench import keyed, shaken
from torch.nn import functional as F


@pytest.mark.parametrize(("depth", "stacks", "kernel"), [(3, 1, 2), (2, 2, 2), (2, 1, 3)])
def test_the_receptive_field_is_that_of_its_dilations(depth, stacks, kernel, jacobian):
    config, space = WaveNetConfig(channels=4, depth=depth, stacks=stacks, kernel=kernel), Vector(dim=32)
    steps = kernel + stacks * (kernel**depth - 1)  # steps before, by the first layer and then by every stack
    seen = jacobian(shaken(config, space, None), space)[30].nonzero().squeeze(1).tolist()
    assert seen == list(range(30 - steps, 30))


def test_the_output_sums_the_skips_of_all_blocks():
    model = shaken(WaveNetConfig(channels=4, depth=2, stacks=2), Vector(dim=8), None)
    skips, summed = [], []
    for block in model.network.blocks:
        block.register_forward_hook(lambda _, inputs, outputs: skips.append(outputs[1]))
    model.network.output.register_forward_hook(lambda _, inputs, outputs: summed.append(inputs[0]))
    model.conditionals(torch.randn(3, 8, dtype=torch.float64))
    assert len(skips) == 4
    torch.testing.assert_close(summed[0], F.silu(skips[0] + skips[1] + skips[2] + skips[3]))


def test_sampling_computes_every_step_once():
    """So the cost is linear in length: all layers compute as many steps as the sequence has."""
    model = shaken(WaveNetConfig(channels=4, depth=3, stacks=1), Vector(dim=40, support=Binary()), None)
    steps = []
    layers = [module for module in model.modules() if isinstance(module, CausalConv1d)]
    for layer in layers:
        layer.register_forward_hook(lambda _, inputs, output: steps.append(output.shape[1]))
    with torch.no_grad():
        model.sample(2, noise=keyed(2))
    assert sum(steps) == 40 * len(layers)


def test_the_channels_of_a_step_are_drawn_in_turn(jacobian):
    space = Sequence(length=4, channels=3)
    model = shaken(WaveNetConfig(channels=4, depth=2, stacks=1), space, None)
    assert model.order.tolist() == list(range(12))
    found = jacobian(model, space)
    assert (found.triu() == 0).all()
    assert (found[torch.tril_indices(12, 12, -1).unbind()] != 0).all()


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        (Field(channels=1, grid=(4, 4)), "expected a sequence or a vector, found a field; use transformer"),
        (Vector(dim=1), "at least 2 steps, found 1; use fvsbn"),
        (Sequence(length=4, channels=3, variable=True), "variable length"),
    ],
)
def test_impossible_spaces_are_refused(space, sentence):
    with pytest.raises(ConfigError, match=sentence):
        WaveNetConfig().build(space)


def test_it_learns_a_period_longer_than_its_kernel(nats_after_fit):
    """A bit repeats after four steps: 4 ln 2 = 2.77 nats in 16 steps, against 11.09 at the start."""
    config, space = WaveNetConfig(channels=8, depth=2, stacks=1), Sequence(length=16, vocabulary=2)
    x = torch.cartesian_prod(*4 * [torch.arange(2)]).repeat(1, 4)
    assert 2.77 < nats_after_fit(config, space, x, lr=2e-2, steps=150) < 3.3
