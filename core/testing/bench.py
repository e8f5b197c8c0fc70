"""The bench on which laws of families are tried: small spaces, arbitrary values, models moved off their start."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..data import Batch
from ..errors import ConfigError
from ..families import FamilyConfig
from ..layout import parts
from ..noise import KeyedNoise
from ..objective import Objective, Player, Trainable
from ..spaces import (
    Binary,
    Field,
    Interval,
    Levels,
    Product,
    Real,
    Sequence,
    Simple,
    Space,
    Support,
    Torus,
    Tree,
    Vector,
    size,
    support_of,
)

TOLERANCES = {"exact": 1e-10, "ode": 1e-3, "estimator": 1e-10}
"""Largest error of a deterministic law, relative to max(1, |expected|); estimators are exact but for their draws."""

SIGMAS = 4.0
"""Standard errors within which a law of averages has to hold."""


SUPPORTS: dict[str, Support] = {
    "real": Real(),
    "binary": Binary(),
    "levels": Levels(count=3),
    "interval": Interval(),
    "torus": Torus(),
}
"""A support of each name that a family may declare."""


def cases(config: FamilyConfig) -> list[tuple[Space, Space | None]]:
    """Small spaces and conditions for every sort of space and support that the family says it models.

    Raises:
        AssertionError: it can be built for none of them.
    """
    labelled = Product(
        parts={
            "energy": Vector(dim=1),
            "kind": Vector(dim=1, support=Levels(count=3)),
            "angle": Vector(dim=1, support=Torus()),
        }
    )
    found: list[tuple[Space, Space | None]] = []
    for name in config.supports:
        s = SUPPORTS[name]
        spaces: dict[str, list[tuple[Space, Space | None]]] = {
            "vector": [
                (Vector(dim=2, support=s), None),
                (Vector(dim=5, support=s), Vector(dim=2)),
                (Vector(dim=1, support=s), None),
                # a plane or a torus for every condition, and all states of ten binary numbers
                *([(Vector(dim=2, support=s), Vector(dim=1))] if isinstance(s, Real | Torus) else []),
                *([(Vector(dim=10, support=s), Vector(dim=1))] if isinstance(s, Binary) else []),
            ],
            "field": [
                (Field(channels=1, grid=(3, 2), support=s), labelled),
                (Field(channels=2, grid=(4, 4), support=s), None),
            ],
            "sequence": [
                (_sequence(2, s), None),
                (_sequence(5, s), labelled),
            ],
            "product": [
                (Product(parts={"a": Vector(dim=1, support=s), "b": Vector(dim=1, support=s)}), None),
                (
                    Product(parts={"a": Vector(dim=2, support=s), "b": Field(channels=1, grid=(2, 2), support=s)}),
                    labelled,
                ),
            ],
        }
        found += [case for kind in config.spaces for case in spaces.get(kind, []) if _builds(config, *case)]
    assert found, f"{type(config).__name__}: none of its spaces {config.spaces} could be tried"
    return found


def _sequence(length: int, support: Support) -> Sequence:
    if isinstance(support, Levels):
        return Sequence(length=length, vocabulary=support.count)
    return Sequence(length=length, channels=1, support=support)


def all_states(space: Space) -> Tensor | None:
    """All rows that a sample of discrete numbers can be, (states, D), if they are few."""
    levels = []
    for _, part in parts(space):
        match support_of(part):
            case Binary():
                values = torch.arange(2, dtype=torch.float64)
            case Levels(count=count):
                values = torch.arange(count)
            case _:
                return None
        levels += size(part) * [values]
    return torch.cartesian_prod(*levels).reshape(-1, len(levels)) if math.prod(map(len, levels)) <= 2**10 else None


def _builds(config: FamilyConfig, space: Space, condition: Space | None) -> bool:
    """Whether the family takes this space; one number is too few for some."""
    try:
        config.build(space, condition)
    except ConfigError:
        return False
    return True


def draw(space: Space, n: int, seed: int) -> Tree:
    """Arbitrary values of a space, (n, ...), float64 where they are real."""
    generator = torch.Generator().manual_seed(seed)
    if isinstance(space, Product):
        return {name: _draw(part, n, generator) for name, part in space.parts.items()}
    return _draw(space, n, generator)


def _draw(part: Simple, n: int, generator: torch.Generator) -> Tensor:
    shape, support = (n, *part.shape), support_of(part)
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
    match support:
        case Levels(count=count):
            return (uniform * count).long()
        case Binary():
            return (uniform < 0.5).double()
        case Interval(low=low, high=high):
            return low + (high - low) * uniform
        case Torus(period=period):
            return period * uniform
        case _:
            return torch.randn(shape, generator=generator, dtype=torch.float64)


def shaken(config: FamilyConfig, space: Space, condition: Space | None, *, seed: int = 0, scale: float = 0.1) -> Any:
    """The family's model in float64 and evaluation mode, every parameter moved by `scale` away from its start."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = config.build(space, condition).double().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(scale * torch.randn_like(parameter))
    return model


def keyed(n: int, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> KeyedNoise:
    """Noise of n samples numbered from zero."""
    return KeyedNoise(seed, torch.arange(n), "laws", dtype=dtype)


def condition_of(condition: Space | None, n: int) -> Tree | None:
    return None if condition is None else draw(condition, n, seed=2)


def batch_of(space: Space, condition: Space | None, n: int) -> Batch:
    return Batch(draw(space, n, seed=1), condition_of(condition, n), torch.arange(n))


def head(batch: Batch, n: int) -> Batch:
    head = batch.map(lambda tensor: tensor[:n])
    return Batch(head.x, head.condition, batch.index[:n])


def assert_near(found: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    error = ((found - expected).abs() / expected.abs().clamp(min=1)).max().item()
    assert error <= tolerance, f"{what}: off by {error:.2e}, where {tolerance:.0e} was declared"


def tolerance_of(config: FamilyConfig, law: str) -> float:
    """Of a law by name, if the family declares one, else that of all its laws."""
    return config.tolerances.get(law, TOLERANCES[config.tolerance])


def objectives(model: Trainable) -> list[tuple[str, Objective, tuple[nn.Module, ...]]]:
    return [
        (f"{stage.name}.{player.name}", player.objective, player.networks)
        for stage in model.stages()
        for player in stage.players
    ]


def fit(model: Trainable, batches: Callable[[int], Batch], *, steps: int, lr: float) -> None:
    """Fit a small model without the engine: the stages in turn, Adam on each player's networks, one thread.

    Args:
        model: is changed in place.
        batches: the batch of a step; its noise is keyed by the step as in the engine.
        steps: of each stage.
        lr: learning rate.
    """
    for stage in model.stages():
        if stage.prepare is not None:
            stage.prepare()
        players = [(player, _adam(player, lr)) for player in stage.players]
        for step in range(steps):
            batch = batches(step)
            for player, optimizer in players:
                optimizer.zero_grad()
                out = player.objective(batch, KeyedNoise(0, batch.index, step=step, dtype=_dtype(player)))
                out.losses.mean().backward()
                optimizer.step()
                player.objective.update(out.statistics)


def _adam(player: Player, lr: float) -> torch.optim.Adam:
    return torch.optim.Adam([p for network in player.networks for p in network.parameters()], lr)


def _dtype(player: Player) -> torch.dtype:
    return next(player.networks[0].parameters()).dtype
