"""Every autoregressive family learns a small known distribution to a stated KL divergence."""

import itertools

import pytest
import torch
from maquette.core.data import Batch
from maquette.core.families.autoregressive.fvsbn import FVSBNConfig
from maquette.core.families.autoregressive.made import MADEConfig
from maquette.core.families.autoregressive.nade import NADEConfig
from maquette.core.families.autoregressive.pixelcnn import PixelCNNConfig
from maquette.core.families.autoregressive.recurrent import RecurrentConfig
from maquette.core.families.autoregressive.transformer import TransformerConfig
from maquette.core.families.autoregressive.wavenet import WaveNetConfig
from maquette.core.spaces import Binary, Field, Vector
from maquette.core.testing.bench import keyed

STATES = torch.tensor(list(itertools.product((0.0, 1.0), repeat=6)))
VECTOR, FIELD = Vector(dim=6, support=Binary()), Field(channels=1, grid=(2, 3), support=Binary())


def table():
    """Log-probabilities of the 64 states without any structure; the uniform distribution is 0.75 nats away."""
    logits = torch.randn(64, generator=torch.Generator().manual_seed(0))
    return logits.log_softmax(0)


def chain():
    """Those of a Markov chain that repeats its value with probability 0.9: an FVSBN can represent it.

    The uniform distribution is 1.84 nats away.
    """
    kept = (STATES[:, 1:] == STATES[:, :-1]).sum(1)
    return (0.5 * 0.9**kept * 0.1 ** (5 - kept)).log()


CASES = {  # config, space, target, learning rate, steps, largest KL divergence in nats
    "fvsbn": (FVSBNConfig(), VECTOR, chain, 0.3, 100, 0.005),
    "nade": (NADEConfig(hidden=(64,)), VECTOR, table, 0.05, 400, 0.01),
    "made": (MADEConfig(hidden=(128,)), VECTOR, table, 0.03, 150, 0.02),
    "recurrent": (RecurrentConfig(width=32), VECTOR, table, 0.02, 200, 0.01),
    "pixelcnn": (PixelCNNConfig(channels=24, depth=2, kernel=3, first_kernel=5), FIELD, table, 0.02, 150, 0.02),
    "wavenet": (WaveNetConfig(channels=32, depth=2, stacks=1), VECTOR, table, 0.02, 150, 0.02),
    "transformer": (TransformerConfig(width=32, depth=2, heads=4), VECTOR, table, 0.01, 120, 0.02),
}


@pytest.mark.parametrize("name", CASES)
def test_it_learns_a_known_distribution(name):
    """The KL divergence of the model from the target, in nats, after so many steps of Adam on all states."""
    config, space, target, lr, steps, nats = CASES[name]
    log_p, x = target(), STATES.reshape(64, *space.shape)
    torch.manual_seed(0)
    model = config.build(space)
    objective, optimizer = model.stages()[0].players[0].objective, torch.optim.Adam(model.parameters(), lr)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
        optimizer.zero_grad()
        noise = keyed(64, seed=step, dtype=torch.float32)
        (log_p.exp() * objective(Batch(x, None, torch.arange(64)), noise).losses).sum().backward()
        optimizer.step()
    with torch.no_grad():
        divergence = (log_p.exp() * (log_p - model.log_prob(x))).sum().item()
    assert 0 <= divergence < nats
