"""Laws of densities and their bounds: normalised, matched by samples, bounded from the declared side."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...data import map_tree
from ...families import FamilyConfig
from ...layout import parts
from ...samplers.likelihood import normal_log_density
from ...spaces import (
    Interval,
    Space,
    Torus,
    Tree,
    flatten,
    size,
    support_of,
    unflatten,
)
from ..bench import (
    SIGMAS,
    TOLERANCES,
    all_states,
    assert_near,
    batch_of,
    condition_of,
    draw,
    head,
    keyed,
    shaken,
)


def check_log_prob(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """Log-densities are finite, one per row, and a row's does not depend on its batch."""
    model, batch = shaken(config, space, condition), batch_of(space, condition, 8)
    with torch.no_grad():
        eight = model.log_prob(batch.x, batch.condition)
        one = head(batch, 1)
        single = model.log_prob(one.x, one.condition)
    assert eight.shape == (8,)
    assert single.shape == (1,)
    assert eight.isfinite().all()
    assert_near(single, eight[:1], TOLERANCES[config.tolerance], "log_prob depends on the batch")


def repeated(condition: Tree | None, n: int) -> Tree | None:
    """One condition, n times."""
    return None if condition is None else map_tree(lambda t: t[:1].expand(n, *t.shape[1:]), condition)


def box(space: Space) -> tuple[float, float] | None:
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
    low, high = box(space) or (-8.0, 8.0)
    side = 100
    axis = low + (high - low) * (torch.arange(side, dtype=torch.float64) + 0.5) / side
    return torch.cartesian_prod(axis, axis), ((high - low) / side) ** 2


def check_normalised(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """The density of two numbers integrates to one within 2e-3; the masses of all states sum to one."""
    model, states = shaken(config, space, condition), all_states(space)
    points, area = _grid(space) if states is None else (states, 1.0)
    tolerance = 2e-3 if states is None else TOLERANCES[config.tolerance]
    with torch.no_grad():
        total = sum(
            model.log_prob(unflatten(space, rows), repeated(condition_of(condition, 1), len(rows))).exp().sum().item()
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
    model, n, states = shaken(config, space, condition), 2000, all_states(space)
    c = repeated(condition_of(condition, 1), n)
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
    x, c = repeated(draw(space, 1, seed=1), n), repeated(condition_of(condition, 1), n)
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
    model, states, draws = shaken(config, space, condition, scale=0.05), all_states(space), 2000
    assert model.direction == "lower"
    assert states is not None
    c = repeated(condition_of(condition, 1), draws)
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


def check_elbo(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """The terms of a bound are those of the bound: no divergence is negative, and both have one mean (within 4 sigma).

    A divergence in closed form and the log-ratio of a draw meet here.
    """
    model, n = shaken(config, space, condition), 4000
    x, c = repeated(draw(space, 1, seed=1), n), repeated(condition_of(condition, 1), n)
    assert x is not None
    with torch.no_grad():
        elbo = model.elbo(x, c, noise=keyed(n))
        away = elbo.bound - model.log_bound(x, c, noise=keyed(n, seed=1))
    assert elbo.reconstruction.shape == (n,)
    for name, terms in elbo.kl.items():
        assert terms.shape[0] == n, f"{name} has shape {tuple(terms.shape)}, expected {n} rows"
        assert (terms >= -TOLERANCES[config.tolerance]).all(), f"{name} is negative"
    error = (away.std() / math.sqrt(n)).item()
    assert away.mean().abs() <= SIGMAS * error + TOLERANCES[config.tolerance], (
        f"the terms sum to {away.mean():.4f} +- {error:.4f} more than the bound"
    )
