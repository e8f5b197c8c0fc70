"""Laws of densities and their bounds: densities are normalised and match the samples, bounds are on the right side.

>>> from maquette.core.families.flows.linear import LinearConfig
>>> from maquette.core.families.vae.vae import VAEConfig
>>> from maquette.core.spaces import Binary, Vector
>>> for check in (check_log_prob, check_normalised, check_sample_density):  # each holds: nothing is raised
...     check(LinearConfig(), Vector(dim=2), None)
>>> for check in (check_bound, check_elbo):
...     check(VAEConfig(latent=1), Vector(dim=1, support=Binary()), None)
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ...data import Batch, map_tree
from ...families import FamilyConfig
from ...layout import parts
from ...samplers.likelihood import normal_log_density
from ...spaces import Interval, Space, Torus, Tree, flatten, size, support_of, unflatten
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
    shared,
)


def check_log_prob(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """Log-densities are finite, one per sample, and do not depend on the rest of the batch."""
    model = shared(config, space, condition)
    check_one_per_sample("log_prob", model.log_prob, batch_of(space, condition, 8), TOLERANCES[config.tolerance])


def check_one_per_sample(name: str, f: Callable[[Tree, Tree | None], Tensor], batch: Batch, tolerance: float) -> Tensor:
    """Values of samples and conditions are finite, one each, and do not depend on the rest of the batch.

    >>> check_one_per_sample("sum", lambda x, condition: x.sum(1), Batch(torch.ones(2, 3), None, torch.arange(2)), 0.0)
    tensor([3., 3.])
    """
    with torch.no_grad():
        values = f(batch.x, batch.condition)
        one = head(batch, 1)
        single = f(one.x, one.condition)
    n = len(batch)
    assert values.shape == (n,), f"{name} of {n} samples has shape {tuple(values.shape)}"
    assert single.shape == (1,), f"{name} of 1 sample has shape {tuple(single.shape)}"
    assert values.isfinite().all(), f"{name} is not finite"
    assert_near(single, values[:1], tolerance, f"{name} depends on the batch")
    return values


def repeated(condition: Tree | None, n: int) -> Tree | None:
    """One condition, n times.

    >>> repeated(torch.tensor([[1.0], [2.0]]), 3).tolist()
    [[1.0], [1.0], [1.0]]
    """
    return map_tree(lambda t: t[:1].expand(n, *t.shape[1:]), condition)


def bounds(space: Space) -> tuple[float, float] | None:
    """The lowest and highest value of an interval or an angle; None for other supports.

    >>> from maquette.core.spaces import Vector
    >>> bounds(Vector(dim=2, support=Interval(low=-1.0, high=3.0))), bounds(Vector(dim=2))
    ((-1.0, 3.0), None)
    """
    (_, part), *_ = parts(space)
    match support_of(part):
        case Interval(low=low, high=high):
            return low, high
        case Torus(period=period):
            return 0.0, period
        case _:
            return None


def _grid(space: Space, side: int) -> tuple[Tensor, float]:
    """The middles (side^2, 2) of the cells of a grid over a plane, and the area of a cell."""
    low, high = bounds(space) or (-8.0, 8.0)
    axis = low + (high - low) * (torch.arange(side, dtype=torch.float64) + 0.5) / side
    return torch.cartesian_prod(axis, axis), ((high - low) / side) ** 2


def check_normalised(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """The density on a plane integrates to one within 2e-3; the probabilities of all states sum to one."""
    model, states = shared(config, space, condition), all_states(space)
    side = 50 if config.tolerance == "ode" else 100  # for smooth densities the error vanishes faster than any power
    points, area = _grid(space, side) if states is None else (states, 1.0)
    tolerance = 2e-3 if states is None else TOLERANCES[config.tolerance]
    with torch.no_grad():
        total = sum(
            model.log_prob(unflatten(space, x), repeated(condition_of(condition, 1), len(x))).exp().sum().item()
            for x in points.split(1 << 14)
        )
    assert abs(area * total - 1) <= tolerance, f"the density integrates to {area * total:.12g}"


def _lighter_tails(space: Space, x: Tensor) -> Tensor:
    """Log-densities (B,) of samples (B, D) under a distribution with lighter tails than theirs.

    The ratio of such a density to that of the samples has a finite variance.
    """
    (_, part), *_ = parts(space)
    log_volume: Tensor | float = 0.0
    match support_of(part):
        case Torus(period=period):
            return x.new_full((len(x),), -size(space) * math.log(period))
        case Interval(low=low, high=high):
            t = ((x - low) / (high - low)).clamp(1e-9, 1 - 1e-9)
            x, log_volume = t.logit(), (t * (1 - t) * (high - low)).log().sum(1)
    center, scale = x.mean(0), 0.7 * x.std(0)
    return normal_log_density((x - center) / scale) - scale.log().sum() - log_volume


def check_sample_density(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """Samples follow the density: the mean of q / p over samples of p is one for any density q (within 4 sigma)."""
    model, n, states = shared(config, space, condition), 2000, all_states(space)
    c = repeated(condition_of(condition, 1), n)
    with torch.no_grad():
        x = model.sample(n, c, noise=keyed(n))
        if states is None:
            log_q = _lighter_tails(space, flatten(space, x))
        else:
            log_q = torch.full((n,), -math.log(len(states)), dtype=torch.float64)
        ratio = (log_q - model.log_prob(x, c)).exp()
    error = (ratio.std() / math.sqrt(n)).item()
    away = abs(ratio.mean().item() - 1)
    assert away <= SIGMAS * error + TOLERANCES[config.tolerance], (
        f"the mean of q / p differs from one by {away:.3f} +- {error:.3f}"
    )


def check_estimate(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """Estimates have the log-density as their mean, and their gradients have its gradient (within 4 sigma)."""
    model, n, tolerance = shared(config, space, condition), 250, TOLERANCES[config.tolerance]
    x, c = repeated(draw(space, 1, seed=1), n), repeated(condition_of(condition, 1), n)
    assert x is not None
    weights = list(model.parameters())

    def with_gradients(log_prob: Tensor) -> Tensor:
        """The mean, and its derivatives along some directions in the space of all parameters."""
        gradients = torch.autograd.grad(log_prob.mean(), weights, materialize_grads=True)
        return torch.cat((log_prob.detach().mean()[None], directions @ torch.cat([g.flatten() for g in gradients])))

    generator = torch.Generator().manual_seed(3)
    directions = torch.randn(8, sum(map(torch.numel, weights)), generator=generator, dtype=torch.float64)
    expected = with_gradients(model.log_prob(x, c))
    found = torch.stack(
        [with_gradients(model.log_prob_estimate(x, c, noise=keyed(n, seed=seed))) for seed in range(40)]
    )
    away, error = (found.mean(0) - expected).abs(), found.std(0) / math.sqrt(len(found))
    assert (away <= SIGMAS * error + tolerance).all(), (
        f"the mean is off by {away[0]:.4f} +- {error[0]:.4f}, "
        f"directional derivatives by up to {(away / error)[1:].max():.1f} standard errors"
    )


def check_bound(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """Bounds of one draw are lower bounds: the mean of exp(bound), summed over all states, is one (within 4 sigma).

    With a bound of the form log p(x, z) / q(z | x), its exponential estimates p(x) without bias, whatever q is, unless
    q is zero for some z where p is not. A family with such a q declares `unbiased = False`, and its sum may be less.
    """
    # shaken less: importance weights of a posterior much narrower than its prior are so heavy-tailed that the standard
    # error of their mean is underestimated
    model, states, draws = shared(config, space, condition, scale=0.05), all_states(space), 2000
    assert model.direction == "lower", f"the bound calls itself {model.direction}, expected lower"
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
    """The terms of the evidence lower bound sum to the bound on the mean (within 4 sigma); no divergence is negative.

    This compares divergences in closed form with log-ratios at a draw.
    """
    model, n = shared(config, space, condition), 4000
    x, c = repeated(draw(space, 1, seed=1), n), repeated(condition_of(condition, 1), n)
    assert x is not None
    with torch.no_grad():
        elbo = model.elbo(x, c, noise=keyed(n))
        away = elbo.bound - model.log_bound(x, c, noise=keyed(n, seed=1))
    assert elbo.reconstruction.shape == (n,)
    for name, terms in elbo.kl.items():
        assert terms.shape[0] == n, f"{name} has shape {tuple(terms.shape)}, expected {n} samples"
        assert (terms >= -TOLERANCES[config.tolerance]).all(), f"{name} is negative"
    error = (away.std() / math.sqrt(n)).item()
    assert away.mean().abs() <= SIGMAS * error + TOLERANCES[config.tolerance], (
        f"the terms sum to {away.mean():.4f} +- {error:.4f} more than the bound"
    )
