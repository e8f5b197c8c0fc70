"""The bench on which laws are tried: arbitrary values, keyed noise, models moved away from their initial weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..data import Batch
from ..families import FamilyConfig
from ..layout import parts
from ..noise import KeyedNoise
from ..objective import Objective, Player, Trainable
from ..spaces import (
    Binary,
    Graph,
    Interval,
    Levels,
    Product,
    Sequence,
    Simple,
    Space,
    Torus,
    Tree,
    flatten,
    size,
    support_of,
    unflatten,
)

TOLERANCES = {"exact": 1e-10, "ode": 1e-3, "estimator": 1e-10}
"""Largest error of a deterministic law, relative to max(1, |expected|); estimators are exact but for their draws."""

SIGMAS = 4.0
"""Standard errors within which a law of averages has to hold."""


def all_states(space: Space) -> Tensor | None:
    """All states of a discrete space, flattened, (states, D), if there are at most 1024 of them; else None.

    Of a sequence of variable length they are those in which nothing but the end follows the end.

    >>> from maquette.core.spaces import Vector
    >>> all_states(Vector(dim=2, support=Binary())).tolist()
    [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    levels: list[Tensor] = []
    for _, part in parts(space):
        match support_of(part):
            case Binary():
                values = torch.arange(2, dtype=torch.float64)
            case Levels(count=count) if not isinstance(part, Graph):
                values = torch.arange(count + (isinstance(part, Sequence) and part.variable))
            case _:
                return None
        levels += size(part) * [values]
    if math.prod(map(len, levels)) > 2**10:
        return None
    common = torch.float64 if any(values.is_floating_point() for values in levels) else torch.int64
    states = torch.cartesian_prod(*(values.to(common) for values in levels)).reshape(-1, len(levels))
    return states[(flatten(space, unflatten(space, states)) == states).all(1)]


def draw(space: Space, n: int, seed: int) -> Tree:
    """Arbitrary values of a space, (n, ...); float64 where they are not integers.

    >>> from maquette.core.spaces import Vector
    >>> draw(Vector(dim=3, support=Levels(count=5)), 2, seed=0).shape
    torch.Size([2, 3])
    """
    generator = torch.Generator().manual_seed(seed)
    if isinstance(space, Product):
        return {name: _draw(part, n, generator) for name, part in space.parts.items()}
    return _draw(space, n, generator)


def _draw(part: Simple, n: int, generator: torch.Generator) -> Any:
    uniform = torch.rand((n, *part.shape), generator=generator, dtype=torch.float64)
    if isinstance(part, Graph):
        return _graph(part, uniform)
    if isinstance(part, Sequence) and part.vocabulary is not None and part.variable:
        return unflatten(part, (uniform * (part.vocabulary + 1)).long())
    if isinstance(part, Sequence) and part.variable:
        value = unflatten(part, torch.cat((uniform[:, :-1], (uniform[:, -1:] * (part.length + 1)).floor()), dim=1))
        assert isinstance(value, dict)
        within = part.within(value["length"])
        return {**value, part.name: value[part.name] * (within if part.channels is None else within[:, :, None])}
    match support_of(part):
        case Levels(count=count):
            return (uniform * count).long()
        case Binary():
            return (uniform < 0.5).double()
        case Interval(low=low, high=high):
            return low + (high - low) * uniform
        case Torus(period=period):
            return period * uniform
        case _:
            return torch.randn((n, *part.shape), generator=generator, dtype=torch.float64)


def _graph(space: Graph, uniform: Tensor) -> Tree:
    """A graph from uniform numbers (n, size): of any count, with nodes and edges of any type."""
    nodes, pairs = space.max_nodes, space.max_nodes * (space.max_nodes - 1) // 2
    levels = torch.tensor([space.node_types] * nodes + [space.edge_types + 1] * pairs + [nodes + 1])
    value = unflatten(space, (uniform * levels).long())
    assert isinstance(value, dict)
    there = torch.arange(nodes) < value["count"][:, None]
    return {**value, "nodes": value["nodes"] * there, "edges": value["edges"] * there[:, :, None] * there[:, None, :]}


def shaken(config: FamilyConfig, space: Space, condition: Space | None, *, seed: int = 0, scale: float = 0.1) -> Any:
    """A family's model in float64 and evaluation mode, with normal noise of deviation `scale` on every parameter.

    Many networks start as the zero function, which breaks no law.

    >>> from maquette.core.families.flows.linear import LinearConfig
    >>> from maquette.core.spaces import Vector
    >>> model = shaken(LinearConfig(), Vector(dim=2), None)
    >>> next(model.parameters()).dtype, model.training
    (torch.float64, False)
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = config.build(space, condition).double().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(scale * torch.randn_like(parameter))
    return model


def shared(config: FamilyConfig, space: Space, condition: Space | None, *, scale: float = 0.1) -> Any:
    """The same model, built once for all laws of a case. They must leave it as it is: weights, gradients and mode.

    >>> from maquette.core.families.flows.linear import LinearConfig
    >>> from maquette.core.spaces import Vector
    >>> shared(LinearConfig(), Vector(dim=2), None) is shared(LinearConfig(), Vector(dim=2), None)
    True
    """
    key = type(config), config.model_dump_json(), repr(space), repr(condition), scale
    if key not in _SHARED:
        if len(_SHARED) == _KEPT:
            del _SHARED[next(iter(_SHARED))]
        _SHARED[key] = shaken(config, space, condition, scale=scale)
    return _SHARED[key]


_SHARED: dict[tuple[Any, ...], Any] = {}
_KEPT = 4  # laws are tried case by case, so the oldest is no longer needed


@torch.no_grad()
def set_weights(model: nn.Module, scale: float) -> None:
    """Set every parameter to normal numbers of deviation `scale` that are keyed by its position among all.

    >>> model = nn.Linear(1, 2).double()
    >>> set_weights(model, 0.2)
    >>> [round(bias, 4) for bias in model.bias.tolist()]
    [0.1316, 0.3656]
    """
    for number, parameter in enumerate(model.parameters()):
        noise = KeyedNoise(1, torch.arange(1), f"parameter/{number}", dtype=torch.float64)
        parameter.copy_(scale * noise.normal("value", tuple(parameter.shape))[0])


def keyed(n: int, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> KeyedNoise:
    """Noise of n samples numbered from zero.

    >>> keyed(3).normal("z", (2,)).shape
    torch.Size([3, 2])
    """
    return KeyedNoise(seed, torch.arange(n), "laws", dtype=dtype)


def condition_of(condition: Space | None, n: int) -> Tree | None:
    """Arbitrary values of a condition, if there is one."""
    return None if condition is None else draw(condition, n, seed=2)


def batch_of(space: Space, condition: Space | None, n: int) -> Batch:
    """Arbitrary samples and conditions, numbered from zero.

    >>> from maquette.core.spaces import Vector
    >>> batch = batch_of(Vector(dim=2), Vector(dim=1), 3)
    >>> batch.x.shape, batch.condition.shape
    (torch.Size([3, 2]), torch.Size([3, 1]))
    >>> condition_of(None, 3) is None
    True
    """
    return Batch(draw(space, n, seed=1), condition_of(condition, n), torch.arange(n))


def head(batch: Batch, n: int) -> Batch:
    """The first n samples of a batch."""
    head = batch.map(lambda tensor: tensor[:n])
    return Batch(head.x, head.condition, batch.index[:n])


def assert_near(found: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    """Raise AssertionError if an error, relative to max(1, |expected|), is larger than the tolerance.

    >>> assert_near(torch.tensor([1.0, 200.0]), torch.tensor([1.0, 201.0]), tolerance=0.01, what="x")
    >>> assert_near(torch.tensor([1.0]), torch.tensor([1.5]), tolerance=0.01, what="x")
    Traceback (most recent call last):
    AssertionError: x: off by 3.33e-01, which is more than the declared 1e-02
    """
    same = found == expected  # infinite log-probabilities, too
    error = ((found - expected).abs() / expected.abs().clamp(min=1)).masked_fill(same, 0.0).max().item()
    assert error <= tolerance, f"{what}: off by {error:.2e}, which is more than the declared {tolerance:.0e}"


def tolerance_of(config: FamilyConfig, law: str) -> float:
    """The tolerance that a family declares for a law, else its general one.

    >>> from maquette.core.families.flows.linear import LinearConfig
    >>> tolerance_of(LinearConfig(), "inverse")
    1e-10
    """
    return config.tolerances.get(law, TOLERANCES[config.tolerance])


def objectives(model: Trainable) -> list[tuple[str, Objective, tuple[nn.Module, ...]]]:
    """The objectives of all players as ("stage.player", objective, networks that the player trains).

    >>> from maquette.core.families.gan.gan import GANConfig
    >>> from maquette.core.spaces import Vector
    >>> [name for name, _, _ in objectives(GANConfig.example().build(Vector(dim=2)))]
    ['fit.critic', 'fit.generator']
    """
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
