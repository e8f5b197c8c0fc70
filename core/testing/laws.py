"""The laws of generative models: checks that any family inherits by what its models can do.

A family's own test is one parametrised function, for a third party's family too:

    from maquette.core.testing.laws import LAWS, applicable, cases

    @pytest.mark.parametrize(("law", "space", "condition"), [
        (law, *case) for case in cases(MyConfig()) for law in applicable(MyConfig(), *case)
    ])
    def test_law(law, space, condition):
        LAWS[law].check(MyConfig(), space, condition)

All run in float64, on small models whose parameters were shaken out of their start (many networks start as the zero
function, where nothing could fail). A family declares in `FamilyConfig.tolerance` how exact it claims to be.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import artifact
from ..capabilities import capabilities
from ..config import parse
from ..data import Batch, map_tree
from ..errors import ArtifactError, ConfigError
from ..families import FamilyConfig
from ..inference.compress import HEADER, compress, decompress
from ..layout import parts
from ..noise import KeyedNoise
from ..objective import Objective, Trainable
from ..samplers.likelihood import normal_log_density
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
    batch_size,
    check,
    flatten,
    size,
    support_of,
    unflatten,
)

TOLERANCES = {"exact": 1e-10, "ode": 1e-3, "estimator": 1e-10}
"""Largest error of a deterministic law, relative to max(1, |expected|); estimators are exact but for their draws."""

SIGMAS = 4.0
"""Standard errors within which a law of averages has to hold."""


# --- the bench on which laws are tried ----------------------------------------------------------------


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


def _states(space: Space) -> Tensor | None:
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


def _condition(condition: Space | None, n: int) -> Tree | None:
    return None if condition is None else draw(condition, n, seed=2)


def _batch(space: Space, condition: Space | None, n: int) -> Batch:
    return Batch(draw(space, n, seed=1), _condition(condition, n), torch.arange(n))


def _head(batch: Batch, n: int) -> Batch:
    head = batch.map(lambda tensor: tensor[:n])
    return Batch(head.x, head.condition, batch.index[:n])


def _near(found: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    error = ((found - expected).abs() / expected.abs().clamp(min=1)).max().item()
    assert error <= tolerance, f"{what}: off by {error:.2e}, where {tolerance:.0e} was declared"


def _tolerance(config: FamilyConfig, law: str) -> float:
    """Of a law by name, if the family declares one, else that of all its laws."""
    return config.tolerances.get(law, TOLERANCES[config.tolerance])


def _objectives(model: Trainable) -> list[tuple[str, Objective, tuple[nn.Module, ...]]]:
    return [(f"{act.name}.{role.name}", role.objective, role.networks) for act in model.acts() for role in act.roles]


# --- what every model owes ----------------------------------------------------------------------------


def check_declaration(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """`build` returns what `config.model` promises, and the config survives its own JSON."""
    model = config.build(space, condition)
    assert isinstance(model, config.model)
    missing = set(capabilities(config.model)) - set(capabilities(model))
    assert not missing, f"the class promises {sorted(missing)}, the model lacks them"
    assert parse(type(config), config.model_dump(mode="json")) == config


def check_saving(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """A model read back from its artefact equals the one that was saved, to the bit."""
    model, other = shaken(config, space, condition), shaken(config, space, condition, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        artifact.save(Path(folder) / "model", {"family": config.model_dump(mode="json")}, model.state_dict())
        content, tensors = artifact.load(Path(folder) / "model")
    assert parse(type(config), content["family"]) == config
    artifact.restore(other, tensors, what="the artefact")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), f"{name} changed on its way through the disk"
    if "sample" in capabilities(model):
        c = _condition(condition, 4)
        before, after = (flatten(space, each.sample(4, c, noise=keyed(4))) for each in (model, other))
        assert torch.equal(before, after), "the model read back samples differently"


# --- sampling -----------------------------------------------------------------------------------------


def check_sample(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """Samples are finite values of the space, for any n, in the precision of the model."""
    model = shaken(config, space, condition)
    for n in (1, 5):
        c = _condition(condition, n)
        with torch.no_grad():
            x = model.sample(n, c, noise=keyed(n))
            assert batch_size(x) == n
            check(space, x, what="sample")
            assert flatten(space, x).isfinite().all()
    single = shaken(config, space, condition).float()
    c = None if c is None else map_tree(lambda t: t.float() if t.is_floating_point() else t, c)
    x, expected = single.sample(5, c, noise=keyed(5, dtype=torch.float32)), draw(space, 1, seed=0)
    for name, part in x.items() if isinstance(x, dict) else [("", x)]:
        like = expected[name] if isinstance(expected, dict) else expected
        assert part.dtype == (torch.float32 if like.is_floating_point() else torch.int64)


def check_sample_rows(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """A sample is a function of its own index and condition: alone or in company, and again."""
    model, c = shaken(config, space, condition), _condition(condition, 8)
    with torch.no_grad():
        eight = flatten(space, model.sample(8, c, noise=keyed(8)))
        again = flatten(space, model.sample(8, c, noise=keyed(8)))
        few = None if c is None else map_tree(lambda t: t[:4], c)
        four = flatten(space, model.sample(4, few, noise=keyed(4)))
        other = flatten(space, model.sample(8, c, noise=keyed(8, seed=1)))
    assert torch.equal(eight, again), "two calls with the same noise differ"
    assert not torch.equal(eight, other), "samples do not depend on the noise"
    _near(four, eight[:4], TOLERANCES[config.tolerance], "rows depend on their batch")


def check_sample_condition(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """Samples follow the condition, where there is one."""
    if condition is None:
        return
    model, n = shaken(config, space, condition, scale=1.0), 32  # few discrete numbers change for a slight difference
    with torch.no_grad():
        one, two = (flatten(space, model.sample(n, draw(condition, n, seed=seed), noise=keyed(n))) for seed in (2, 3))
    assert not torch.allclose(one, two), "samples do not depend on the condition"


# --- densities ----------------------------------------------------------------------------------------


def check_log_prob(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """Log-densities are finite, one per row, and a row's does not depend on its batch."""
    model, batch = shaken(config, space, condition), _batch(space, condition, 8)
    with torch.no_grad():
        eight = model.log_prob(batch.x, batch.condition)
        one = _head(batch, 1)
        single = model.log_prob(one.x, one.condition)
    assert eight.shape == (8,)
    assert single.shape == (1,)
    assert eight.isfinite().all()
    _near(single, eight[:1], TOLERANCES[config.tolerance], "log_prob depends on the batch")


def _rows(condition: Tree | None, n: int) -> Tree | None:
    """One condition, n times."""
    return None if condition is None else map_tree(lambda t: t[:1].expand(n, *t.shape[1:]), condition)


def _box(space: Space) -> tuple[float, float] | None:
    """The bounds of a space whose numbers have some."""
    (_, part), *_ = parts(space)
    match support_of(part):
        case Interval(low=low, high=high):
            return low, high
        case Torus(period=period):
            return 0.0, period
        case _:
            return None


def _grid(space: Space) -> tuple[Tensor, float]:
    """Rows (n, 2) all over a space of two real numbers, and the area that each stands for."""
    low, high = _box(space) or (-8.0, 8.0)
    side = 100
    axis = low + (high - low) * (torch.arange(side, dtype=torch.float64) + 0.5) / side
    return torch.cartesian_prod(axis, axis), ((high - low) / side) ** 2


def check_normalised(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """The density of two numbers integrates to one within 2e-3; the masses of all states sum to one."""
    model, states = shaken(config, space, condition), _states(space)
    points, area = _grid(space) if states is None else (states, 1.0)
    tolerance = 2e-3 if states is None else TOLERANCES[config.tolerance]
    with torch.no_grad():
        total = sum(
            model.log_prob(unflatten(space, rows), _rows(_condition(condition, 1), len(rows))).exp().sum().item()
            for rows in points.split(1 << 14)
        )
    assert abs(area * total - 1) <= tolerance, f"the density integrates to {area * total:.12g}"


def _lighter(space: Space, rows: Tensor) -> Tensor:
    """Log-densities (B,) of rows under a law with lighter tails than theirs: the ratio's variance is finite."""
    (_, part), *_ = parts(space)
    volume: Tensor | float = 0.0
    match support_of(part):
        case Torus(period=period):
            return rows.new_full((len(rows),), -size(space) * math.log(period))
        case Interval(low=low, high=high):
            t = ((rows - low) / (high - low)).clamp(1e-9, 1 - 1e-9)
            rows, volume = t.logit(), (t * (1 - t) * (high - low)).log().sum(1)
    center, scale = rows.mean(0), 0.7 * rows.std(0)
    return normal_log_density((rows - center) / scale) - scale.log().sum() - volume


def check_sample_density(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """Samples follow the density: the mean of q / p over samples of p is one for any density q (within 4 sigma)."""
    model, n, states = shaken(config, space, condition), 2000, _states(space)
    c = _rows(_condition(condition, 1), n)
    with torch.no_grad():
        x = model.sample(n, c, noise=keyed(n))
        rows = flatten(space, x)
        if states is None:
            log_q = _lighter(space, rows)
        else:
            log_q = torch.full((n,), -math.log(len(states)), dtype=torch.float64)
        ratio = (log_q - model.log_prob(x, c)).exp()
    error = (ratio.std() / math.sqrt(n)).item()
    away = abs(ratio.mean().item() - 1)
    assert away <= SIGMAS * error + TOLERANCES[config.tolerance], (
        f"mean of q / p is off one by {away:.3f} +- {error:.3f}"
    )


def check_estimate(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """Estimates have the log-density as their mean, and their gradients have its gradient (within 4 sigma)."""
    model, n, tolerance = shaken(config, space, condition), 250, TOLERANCES[config.tolerance]
    x, c = _rows(draw(space, 1, seed=1), n), _rows(_condition(condition, 1), n)
    assert x is not None
    weights = list(model.parameters())

    def with_slopes(log_prob: Tensor) -> Tensor:
        """The mean, and its slopes along some directions in the space of all parameters."""
        gradients = torch.autograd.grad(log_prob.mean(), weights, materialize_grads=True)
        return torch.cat((log_prob.detach().mean()[None], directions @ torch.cat([g.flatten() for g in gradients])))

    generator = torch.Generator().manual_seed(3)
    directions = torch.randn(8, sum(map(torch.numel, weights)), generator=generator, dtype=torch.float64)
    expected = with_slopes(model.log_prob(x, c))
    found = torch.stack([with_slopes(model.log_prob_estimate(x, c, noise=keyed(n, seed=seed))) for seed in range(40)])
    away, error = (found.mean(0) - expected).abs(), found.std(0) / math.sqrt(len(found))
    assert (away <= SIGMAS * error + tolerance).all(), (
        f"the mean is off by {away[0]:.4f} +- {error[0]:.4f}, slopes by up to {(away / error)[1:].max():.1f} errors"
    )


def check_bound(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """One-draw lower bounds are honest: the mean of exp(bound), summed over all states, is one (within 4 sigma).

    A lower bound of the form log p(x, z) / q(z | x) estimates p(x) without bias, whatever q is, unless q leaves out
    some z that p has: a family with such a q declares it, and its sum may only be less.
    """
    # shaken less: weights of posteriors much narrower than their prior are too heavy-tailed for their error to be seen
    model, states, draws = shaken(config, space, condition, scale=0.05), _states(space), 2000
    assert model.direction == "lower"
    assert states is not None
    c = _rows(_condition(condition, 1), draws)
    total = variance = 0.0
    with torch.no_grad():
        for number, state in enumerate(states):
            x = unflatten(space, state.expand(draws, -1))
            p = model.log_bound(x, c, noise=keyed(draws, seed=number)).exp()
            total, variance = total + p.mean().item(), variance + p.var().item() / draws
    away = abs(total - 1) if config.unbiased else total - 1
    assert away <= SIGMAS * math.sqrt(variance) + TOLERANCES[config.tolerance], (
        f"the bound sums to {total:.4f} +- {math.sqrt(variance):.4f} over all states"
    )


def check_evidence(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """The terms of a bound are those of the bound: no divergence is negative, and both have one mean (within 4 sigma).

    A divergence in closed form and the log-ratio of a draw meet here.
    """
    model, n = shaken(config, space, condition), 4000
    x, c = _rows(draw(space, 1, seed=1), n), _rows(_condition(condition, 1), n)
    assert x is not None
    with torch.no_grad():
        evidence = model.evidence(x, c, noise=keyed(n))
        away = evidence.bound - model.log_bound(x, c, noise=keyed(n, seed=1))
    assert evidence.reconstruction.shape == (n,)
    for name, terms in evidence.divergence.items():
        assert terms.shape[0] == n, f"{name} has shape {tuple(terms.shape)}, expected {n} rows"
        assert (terms >= -TOLERANCES[config.tolerance]).all(), f"{name} is negative"
    error = (away.std() / math.sqrt(n)).item()
    assert away.mean().abs() <= SIGMAS * error + TOLERANCES[config.tolerance], (
        f"the terms sum to {away.mean():.4f} +- {error:.4f} more than the bound"
    )


# --- autoregressive models ----------------------------------------------------------------------------


def check_causal(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """A number's law is blind to the number itself and to all that are drawn later: exactly so."""
    model, batch = shaken(config, space, condition), _batch(space, condition, 4)
    order, other = model.order, flatten(space, draw(space, 4, seed=5))
    rows = flatten(space, batch.x)
    with torch.no_grad():
        before = model.conditionals(batch.x, batch.condition)
        assert before.shape == (4, size(space), model.likelihood.parameters)
        for i in range(len(order)):
            later = rows.clone()
            later[:, order[i:]] = other[:, order[i:]]
            after = model.conditionals(unflatten(space, later), batch.condition)
            seen = order[: i + 1]
            assert torch.equal(after[:, seen], before[:, seen]), f"the law of number {i} sees itself or later ones"


@dataclass
class _Recorded:
    """A likelihood that keeps the parameters it was given to draw from."""

    law: Any
    seen: list[Tensor] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.law, name)

    def draw(self, parameters: Tensor, u: Tensor) -> Tensor:
        self.seen.append(parameters)
        return self.law.draw(parameters, u)


def check_conditionals(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """The density is the product of the conditionals, and numbers are drawn from them in turn: cached or anew."""
    model, n, tolerance = shaken(config, space, condition), 6, TOLERANCES[config.tolerance]
    c, noise = _condition(condition, n), keyed(n)
    law = model.likelihood = _Recorded(model.likelihood)
    with torch.no_grad():
        x = model.sample(n, c, noise=noise)
        rows, parameters = flatten(space, x), model.conditionals(x, c)
        product = law.log_prob(parameters, rows).sum(1)
        drawn_from = torch.stack(law.seen, dim=1)[:, model.order.argsort()]
        drawn = law.law.draw(parameters, noise.uniform("numbers", (size(space), law.uniforms)))
    _near(product, model.log_prob(x, c), tolerance, "product of conditionals")
    _near(drawn_from, parameters, tolerance, "parameters that numbers were drawn from")
    _near(drawn.double(), rows.double(), tolerance, "a sample, drawn again from its conditionals")


def check_compression(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """Samples survive compression to the bit, and take as many bits as their negative log2-likelihood says."""
    model, n = shaken(config, space, condition), 200
    c = _condition(condition, n)
    with torch.no_grad():
        x = model.sample(n, c, noise=keyed(n))
        expected = -model.log_prob(x, c).sum().item() / math.log(2)
    archive = compress(model, x, c)
    try:
        again = decompress(model, archive, c)
    except ArtifactError as error:
        raise AssertionError(f"written and read with different laws: {error}") from None
    assert torch.equal(flatten(space, again), flatten(space, x)), "samples changed on their way through an archive"
    bits = 8 * (len(archive) - HEADER)
    # the code ends with a whole word of 32 bits, and the coder may hold back one more
    assert abs(bits - expected) <= 1e-3 * expected + 64, f"{bits} bits, where {expected:.1f} were to be expected"


# --- invertible models --------------------------------------------------------------------------------


def check_inverse(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """`encode` and `decode` undo each other, also far out in the tails; on a circle, up to whole turns."""
    model, tolerance = shaken(config, space, condition), _tolerance(config, "inverse")
    batch = _batch(space, condition, 64)
    with torch.no_grad():
        rows = flatten(space, batch.x)
        rows = rows if _box(space) else 3 * rows
        x = unflatten(space, rows)
        again = flatten(space, model.decode(model.encode(x, batch.condition), batch.condition))
        _near(_unturned(space, again, rows), rows, tolerance, "x")
        z = model.encode(batch.x, batch.condition)
        _near(model.encode(model.decode(z, batch.condition), batch.condition), z, tolerance, "z")


def _unturned(space: Space, rows: Tensor, like: Tensor) -> Tensor:
    """Rows (B, D) moved next to others by whole turns, if they are angles."""
    (_, part), *_ = parts(space)
    match support_of(part):
        case Torus(period=period):
            return rows - period * ((rows - like) / period).round()
        case _:
            return rows


def check_log_det(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """log_prob is the density of the code plus the log-determinant of the Jacobian of `encode`.

    The Jacobian is what autograd finds; and, lest a backward pass of its own tell of another map, what central
    differences find. A code is standard normal, unless the model has a `base` of its own.
    """
    model, batch = shaken(config, space, condition), _batch(space, condition, 16)
    rows = flatten(space, batch.x).requires_grad_()
    x = unflatten(space, rows)
    z = model.encode(x, batch.condition)
    base = model.base.log_prob(z) if hasattr(model, "base") else normal_log_density(z)
    found, tolerance = model.log_prob(x, batch.condition), _tolerance(config, "log-det")
    jacobian = torch.stack([torch.autograd.grad(column.sum(), rows, retain_graph=True)[0] for column in z.T], dim=1)
    _near(found, base + torch.linalg.slogdet(jacobian).logabsdet, tolerance, "log-determinant")
    step = max(torch.finfo(z.dtype).eps, 1e-5 * TOLERANCES[config.tolerance]) ** (1 / 3)  # truncation is as rounding
    differences = _differences(lambda rows, c: model.encode(unflatten(space, rows), c), rows, batch.condition, step)
    expected = base + torch.linalg.slogdet(differences).logabsdet
    _near(found, expected, max(tolerance, 1e-6), "log-determinant by differences")


@torch.no_grad()
def _differences(f: Callable[[Tensor, Tree | None], Tensor], rows: Tensor, condition: Tree | None, h: float) -> Tensor:
    """The Jacobians (B, L, D) of codes (B, L) by central differences of rows (B, D), all of them in one batch."""
    n, d = rows.shape
    steps = h * torch.cat((torch.eye(d, dtype=rows.dtype), -torch.eye(d, dtype=rows.dtype)))
    moved = (rows + steps.unsqueeze(1)).flatten(0, 1)
    c = None if condition is None else map_tree(lambda t: t.repeat(2 * d, *(1 for _ in t.shape[1:])), condition)
    up, down = f(moved, c).unflatten(0, (2, d, n))
    return ((up - down) / (2 * h)).permute(1, 2, 0)


# --- codebooks ----------------------------------------------------------------------------------------


def check_straight_through(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """A decoder sees codes, and what it wants of them reaches the vectors they stand for as if they were those.

    The gradients of all vectors with one code sum to the decoder's by that code. It is checked where nothing else
    depends on a vector: at the finest level.
    """
    model, batch = shaken(config, space, condition), _batch(space, condition, 16)
    tolerance = TOLERANCES[config.tolerance]
    found, codes = model.quantise(batch.x, batch.condition), model.books[-1].codes.requires_grad_()
    decoded = model.generate(found.index, batch.condition)
    _near(found.parameters, decoded, tolerance, "what is decoded from vectors")
    weight = torch.randn(decoded.shape, generator=torch.Generator().manual_seed(3), dtype=decoded.dtype)
    slopes = torch.autograd.grad((weight * found.parameters).sum(), found.vectors[-1:], materialize_grads=True)
    (wanted,) = torch.autograd.grad((weight * decoded).sum(), codes)
    felt = torch.zeros_like(wanted).index_add(0, found.index[-1].flatten(), slopes[0].flatten(0, -2))
    _near(felt, wanted, tolerance, "the gradient that reaches vectors")


# --- training -----------------------------------------------------------------------------------------


def check_gradients(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """Every parameter of a role's networks gets a gradient, and every parameter belongs to some role."""
    model, batch = shaken(config, space, condition).train(), _batch(space, condition, 16)
    owned = set()
    for name, objective, networks in _objectives(model):
        model.zero_grad(set_to_none=True)
        objective(batch, keyed(16)).losses.sum().backward()
        for network in networks:
            for parameter_name, parameter in network.named_parameters():
                owned.add(parameter)
                moved = not parameter.numel() or (parameter.grad is not None and bool(parameter.grad.abs().sum() > 0))
                assert moved, f"{name}: no gradient reaches {parameter_name}"
    idle = [name for name, parameter in model.named_parameters() if parameter not in owned]
    assert not idle, f"no role trains {idle}"


def check_purity(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """An objective's loss is a function: it repeats, changes no state, and leaves the global generator alone."""
    model, batch = shaken(config, space, condition).train(), _batch(space, condition, 8)
    for name, objective, _ in _objectives(model):
        before = {name: tensor.clone() for name, tensor in _state(model, objective).items()}
        generator = torch.random.get_rng_state()
        first, second = (objective(batch, keyed(8)).losses for _ in range(2))
        assert torch.equal(first, second), f"{name}: two calls differ"
        assert torch.equal(generator, torch.random.get_rng_state()), f"{name}: drew from the global generator"
        for changed, tensor in _state(model, objective).items():
            assert torch.equal(tensor, before[changed]), f"{name}: the loss changed {changed}"


def _state(model: nn.Module, objective: nn.Module) -> dict[str, Tensor]:
    """All that a fit would save: an objective may have counters of its own beside the model that it holds."""
    return {**model.state_dict(), **{f"objective.{name}": tensor for name, tensor in objective.state_dict().items()}}


def check_losses(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """Losses, weights and metrics are one per row, finite, and independent of the batch unless declared coupled."""
    model, batch = shaken(config, space, condition), _batch(space, condition, 8)
    for name, objective, _ in _objectives(model):
        eight = objective(batch, keyed(8))
        for what, value in {"losses": eight.losses, "weights": eight.weights, **eight.metrics}.items():
            assert value is not None
            assert value.shape == (8,), f"{name}: {what} has shape {tuple(value.shape)}, expected (8,)"
            assert value.isfinite().all(), f"{name}: {what} is not finite"
        if not objective.coupled:
            four = objective(_head(batch, 4), keyed(4))
            _near(four.losses, eight.losses[:4], TOLERANCES[config.tolerance], f"{name}: losses depend on their batch")


# --- the table ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Law:
    """A check, and what a model must be able to do to owe it.

    Attributes:
        check: raises AssertionError, with what is wrong, if the law is broken.
        needs: capabilities, as named in `capabilities.PROTOCOLS`, and "train" for a `Trainable`.
        where: which spaces the law is made for.
    """

    check: Callable[[FamilyConfig, Space, Space | None], None]
    needs: tuple[str, ...] = ()
    where: Callable[[Space], bool] = lambda space: True


def _summable(space: Space) -> bool:
    """Whether all states, or a plane, can be summed over."""
    return size(space) == 2 or _states(space) is not None


def _compressible(space: Space) -> bool:
    """Whether numbers are whole ones, and the coder is installed."""
    whole = all(isinstance(support_of(part), Binary | Levels) for _, part in parts(space))
    return whole and find_spec("constriction") is not None


def _enumerable(space: Space) -> bool:
    return _states(space) is not None and size(space) <= 5


LAWS: dict[str, Law] = {
    "declaration": Law(check_declaration),
    "saving": Law(check_saving),
    "sample": Law(check_sample, ("sample",)),
    "sample-rows": Law(check_sample_rows, ("sample",)),
    "sample-condition": Law(check_sample_condition, ("sample",)),
    "log-prob": Law(check_log_prob, ("density",)),
    "normalised": Law(check_normalised, ("density",), where=_summable),
    "sample-density": Law(check_sample_density, ("sample", "density"), where=_summable),
    "estimate": Law(check_estimate, ("density", "estimate")),
    "bound": Law(check_bound, ("bound",), where=_enumerable),
    "evidence": Law(check_evidence, ("bound", "evidence")),
    "causal": Law(check_causal, ("conditionals",)),
    "conditionals": Law(check_conditionals, ("conditionals", "density", "sample")),
    "compression": Law(check_compression, ("conditionals", "density", "sample"), where=_compressible),
    "inverse": Law(check_inverse, ("density", "encode")),
    "log-det": Law(check_log_det, ("density", "encode")),
    "straight-through": Law(check_straight_through, ("quantise",)),
    "gradients": Law(check_gradients, ("train",)),
    "purity": Law(check_purity, ("train",)),
    "losses": Law(check_losses, ("train",)),
}


def applicable(config: FamilyConfig, space: Space, condition: Space | None = None) -> list[str]:
    """Names of the laws that the family's model of this space owes."""
    model = config.build(space, condition)
    able = {*capabilities(model), *(("train",) if isinstance(model, Trainable) else ())}
    return [name for name, law in LAWS.items() if able >= {*law.needs} and law.where(space)]
