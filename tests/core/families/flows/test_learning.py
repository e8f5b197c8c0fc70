"""Every family of flows learns a small conditional distribution to within a stated number of nats of its entropy."""

import math

import pytest
import torch
from maquette.core.data import Batch
from maquette.core.families.flows.autoregressive import AutoregressiveFlowConfig
from maquette.core.families.flows.circular_spline import CircularSplineConfig
from maquette.core.families.flows.continuous import ContinuousConfig
from maquette.core.families.flows.coupling import CouplingConfig
from maquette.core.families.flows.dequantised import DequantisedConfig, VariationalDequantiserConfig
from maquette.core.families.flows.flow_plus_plus import FlowPlusPlusConfig
from maquette.core.families.flows.glow import GlowConfig
from maquette.core.families.flows.linear import LinearConfig
from maquette.core.families.flows.monotonic import MonotonicConfig
from maquette.core.families.flows.planar import PlanarConfig
from maquette.core.families.flows.residual_flow import ResidualFlowConfig
from maquette.core.families.flows.spline import SplineConfig
from maquette.core.nets.mlp import MLPConfig
from maquette.core.noise import KeyedNoise
from maquette.core.spaces import Field, Levels, Torus, Vector

NORMAL = 0.5 * math.log(2 * math.pi * math.e)
"""Entropy of a standard normal, nats."""

CORE = 1.7097
"""Entropy of equal parts of two-dimensional normals of deviations 1 and 0.2 around one point, by quadrature, nats."""


def gaussian(n, generator):
    """A correlated normal around the condition."""
    e, c = torch.randn(2, n, 2, generator=generator)
    root = torch.tensor([[0.5, 0.0], [0.3, 0.2]])
    return e @ root.T + c, c


def banana(n, generator):
    """Points around a parabola whose vertex depends on the condition."""
    e, c = torch.randn(2, n, 2, generator=generator)
    first = 0.7 * e[:, 0] + 0.5 * c[:, 0]
    return torch.stack((first, first.square() - 1 + 0.3 * e[:, 1]), dim=1), c


def core(n, generator):
    """Points of two concentric normals, of deviations 1 and 0.2."""
    e, c = torch.randn(2, n, 2, generator=generator)
    return e * torch.where(torch.arange(n)[:, None] % 2 == 0, 1.0, 0.2), c


def angles(n, generator):
    """Two angles, the second close to the first."""
    e, c = torch.randn(2, n, 2, generator=generator)
    first = torch.pi + 0.5 * e[:, 0]
    return torch.stack((first, first + 0.3 * e[:, 1]), dim=1).remainder(2 * math.pi), c


def texture(n, generator):
    """Images (1, 2, 4) of two blocks: three cells of a block are functions of the fourth, with noise of 0.3."""
    first, *noise = torch.randn(4, n, 2, generator=generator)
    a, b, c = (0.3 * e for e in noise)
    blocks = torch.stack((first, first + a, first.square() - 1 + b, first + c), dim=2)  # (n, block, cell)
    return blocks.view(n, 2, 2, 2).transpose(1, 2).reshape(n, 1, 2, 4), torch.randn(n, 2, generator=generator)


def levels(n, generator):
    """Two integers of eight levels, both below 4 or both not, else uniform."""
    high, *low = torch.randint(0, 4, (3, n), generator=generator)
    return torch.stack(low, dim=1) + 4 * (high[:, None] % 2), torch.randn(n, 2, generator=generator)


def picture(n, generator):
    x, c = levels(n, generator)
    return x.view(n, 1, 1, 2), c


PLANE = Vector(dim=2)
DATA = {
    "gaussian": (gaussian, PLANE, 2 * NORMAL + math.log(0.1)),
    "banana": (banana, PLANE, 2 * NORMAL + math.log(0.7 * 0.3)),
    "core": (core, PLANE, CORE),
    "angles": (angles, Vector(dim=2, support=Torus()), 2 * NORMAL + math.log(0.5 * 0.3)),
    "texture": (texture, Field(channels=1, grid=(2, 4)), 8 * NORMAL + 6 * math.log(0.3)),
    "levels": (levels, Vector(dim=2, support=Levels(count=8)), math.log(32)),
    "picture": (picture, Field(channels=1, grid=(1, 2), support=Levels(count=8)), math.log(32)),
}
"""Samples and conditions, their space, and the entropy given the condition, nats."""
AUTOREGRESSIVE_SPLINE = SplineConfig(transforms=1, hidden=(32,), scheme="autoregressive")
MONOTONIC = MonotonicConfig(transforms=1, hidden=(32,), signal=4, slope=(16,), knots=17)
CONTINUOUS = ContinuousConfig(network=MLPConfig(hidden=(32,)), steps=2, trace="exact", precision=1e-3)
FLOW_PLUS_PLUS = FlowPlusPlusConfig(levels=1, steps=1, dequantisation=1, width=8, depth=1, heads=2, components=4)
CASES = {
    "linear": (LinearConfig(), "gaussian", 0.1, 150, 0.05),
    "coupling": (CouplingConfig(transforms=4, hidden=(32,)), "banana", 0.02, 150, 0.1),
    "coupling, additive": (CouplingConfig(transforms=4, hidden=(32,), bijection="additive"), "banana", 0.02, 150, 0.1),
    "autoregressive-flow": (AutoregressiveFlowConfig(transforms=2, hidden=(32,)), "banana", 0.02, 150, 0.1),
    "IAF": (AutoregressiveFlowConfig(transforms=2, hidden=(32,), quick="sampling"), "gaussian", 0.02, 100, 0.1),
    "spline": (SplineConfig(transforms=2, hidden=(32,)), "banana", 0.02, 150, 0.1),
    "spline, autoregressive": (AUTOREGRESSIVE_SPLINE, "banana", 0.02, 150, 0.15),
    "circular-spline": (CircularSplineConfig(transforms=2, hidden=(32,)), "angles", 0.02, 150, 0.1),
    "monotonic": (MONOTONIC, "banana", 0.02, 150, 0.1),
    "planar": (PlanarConfig(steps=6), "banana", 0.05, 150, 0.3),
    "radial": (PlanarConfig(shape="radial", steps=6), "core", 0.05, 150, 0.15),
    "residual-flow": (ResidualFlowConfig(steps=3, hidden=(16,), iterations=4), "banana", 0.02, 120, 0.4),
    "continuous": (CONTINUOUS, "gaussian", 0.05, 80, 0.2),
    "glow": (GlowConfig(levels=2, steps=1, width=8), "texture", 0.03, 80, 0.7),
    "dequantised": (
        DequantisedConfig(
            flow=SplineConfig(transforms=2, hidden=(32,), scheme="autoregressive"),
            noise=VariationalDequantiserConfig(transforms=2, hidden=(16,)),
        ),
        "levels",
        0.03,
        150,
        0.3,
    ),
    "flow-plus-plus": (FLOW_PLUS_PLUS, "picture", 0.02, 100, 0.2),
}
"""A config, what it learns, learning rate and steps of training, and how far from the entropy it may end, nats."""


@pytest.mark.parametrize("name", CASES)
def test_a_flow_learns(name):
    config, data, rate, steps, within = CASES[name]
    sample, space, entropy = DATA[data]
    model = config.build(space, Vector(dim=2))
    objective = model.stages()[0].players[0].objective
    optimizer = torch.optim.Adam(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(1)

    def excess():
        x, c = sample(2000, torch.Generator().manual_seed(2))
        with torch.no_grad():
            if hasattr(model, "log_prob"):
                return -model.log_prob(x, c).mean().item() - entropy
            return -model.log_bound(x, c, noise=KeyedNoise(0, torch.arange(2000))).mean().item() - entropy

    start = excess()
    for step in range(steps):
        x, c = sample(256, generator)
        batch = Batch(x, c, torch.arange(256))
        optimizer.zero_grad()
        objective(batch, KeyedNoise(0, batch.index, step=step)).losses.mean().backward()
        optimizer.step()
        schedule.step()
    end = excess()
    assert start > 3 * within
    assert -0.05 < end < within
