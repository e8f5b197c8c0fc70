"""The laws of likelihoods: checks that every registered univariate distribution must pass, a third party's too.

    from maquette.core.testing.likelihoods import LAWS, cases

    @pytest.mark.parametrize("law", LAWS)
    @pytest.mark.parametrize(("likelihood", "support"), cases(MyLikelihoodConfig))
    def test_law(law, likelihood, support):
        LAWS[law](likelihood, support)

All run in float64 unless they say otherwise.

One law after another holds for a likelihood of two values; nothing is raised:

>>> from maquette.core.likelihoods.bernoulli import BernoulliConfig
>>> ((likelihood, support),) = cases(BernoulliConfig)
>>> for check in (check_protocol, check_total, check_listed_masses, check_mean):
...     check(likelihood, support)
>>> for check in (check_draws, check_batch, check_extremes, check_embed):
...     check(likelihood, support)
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..likelihoods import Discrete, Likelihood, LikelihoodConfig
from ..likelihoods.interval import EDGE
from ..spaces import Binary, Interval, Levels, Real, Support
from .bench import SIGMAS, keyed

SUPPORTS: tuple[Support, ...] = (Real(), Interval(low=-1.0, high=3.0), Binary(), Levels(count=256))
DRAWN = 20_000


def cases(config: type[LikelihoodConfig]) -> list[tuple[Likelihood, Support]]:
    """The likelihood on each of its supports; with one and with three components if it is a mixture."""
    sizes = ({"components": 1}, {"components": 3}) if "components" in config.model_fields else ({},)
    supports = [support for support in SUPPORTS if isinstance(support, config.supports)]
    return [(config(**size).build(support), support) for support in supports for size in sizes]


def grid(support: Support, fine: int = 4000) -> tuple[Tensor, Tensor]:
    """All levels of a support, or the centres of cells that cover it, and the measure of each.

    Cells narrow towards the ends of an interval, where densities may be steep.
    """
    match support:
        case Binary():
            return torch.arange(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
        case Levels(count=count):
            return torch.arange(count), torch.ones(count, dtype=torch.float64)
        case Interval(low=low, high=high):
            half = torch.logspace(math.log10(EDGE), math.log10(0.5), fine // 2, dtype=torch.float64)
            zero = torch.zeros(1, dtype=torch.float64)
            edges = low + (high - low) * torch.cat((zero, half, 1 - half[:-1].flip(0), 1 - zero))
        case _:
            edges = torch.linspace(-40, 40, fine + 1, dtype=torch.float64)
    return (edges[1:] + edges[:-1]) / 2, edges.diff()


def parameters(likelihood: Likelihood, seed: int = 0, scale: float = 1.0) -> Tensor:
    """Arbitrary parameters (P,)."""
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(likelihood.parameters, generator=generator, dtype=torch.float64)


def masses(likelihood: Likelihood, support: Support, given: Tensor) -> tuple[Tensor, Tensor]:
    """The grid of the support, and the mass of each of its points under parameters (P,).

    >>> from maquette.core.likelihoods.categorical import CategoricalConfig
    >>> support = Levels(count=3)
    >>> x, mass = masses(CategoricalConfig().build(support), support, torch.zeros(3, dtype=torch.float64))
    >>> x, mass
    (tensor([0, 1, 2]), tensor([0.3333, 0.3333, 0.3333], dtype=torch.float64))
    """
    x, measure = grid(support)
    return x, measure * likelihood.log_prob(given.expand(len(x), -1), x).exp()


def check_protocol(likelihood: Likelihood, support: Support) -> None:
    """It has all attributes and methods of a likelihood."""
    assert isinstance(likelihood, Likelihood)


def check_total(likelihood: Likelihood, support: Support) -> None:
    """Masses of all levels sum to one within 1e-10, densities integrate to one within 1e-3."""
    for seed in range(3):
        _, mass = masses(likelihood, support, parameters(likelihood, seed))
        away = abs(mass.sum().item() - 1)
        assert away <= (1e-10 if likelihood.discrete else 1e-3), f"the total is off one by {away:.2e}"


def check_listed_masses(likelihood: Likelihood, support: Support) -> None:
    """A likelihood with `discrete` lists its masses, and they agree with `log_prob`."""
    assert isinstance(likelihood, Discrete) == likelihood.discrete
    if isinstance(likelihood, Discrete):
        x, _ = grid(support)
        given = torch.stack([parameters(likelihood, seed) for seed in range(3)])
        expected = torch.stack([likelihood.log_prob(row.expand(len(x), -1), x) for row in given])
        torch.testing.assert_close(likelihood.log_masses(given), expected)


def check_mean(likelihood: Likelihood, support: Support) -> None:
    """The mean is the expectation over the support."""
    for seed in range(3):
        given = parameters(likelihood, seed)
        x, mass = masses(likelihood, support, given)
        found, expected = likelihood.mean(given).item(), (x * mass).sum().item()
        away = abs(found - expected) / max(abs(expected), 1e-300)
        assert away <= (1e-10 if likelihood.discrete else 1e-3), f"the mean is {found:.6g}, expected {expected:.6g}"


def check_draws(likelihood: Likelihood, support: Support) -> None:
    """The empirical distribution function of draws lies within 4 standard errors of the true one; so does the mean."""
    for scale in (0.0, 1.0, 2.0):
        given = parameters(likelihood, 1, scale)
        drawn = likelihood.draw(given.expand(DRAWN, -1), keyed(DRAWN, seed=7).uniform("u", (likelihood.uniforms,)))
        x, mass = masses(likelihood, support, given)
        assert drawn.shape == (DRAWN,)
        assert drawn.dtype == x.dtype
        _, measure = grid(support)
        edges = x if likelihood.discrete else x + measure / 2
        found = torch.searchsorted(drawn.sort().values, edges, right=True) / DRAWN
        away = (found - mass.cumsum(0)).abs().max().item()
        assert away <= SIGMAS * 0.5 / math.sqrt(DRAWN), f"the distribution of draws is off by {away:.4f}"
        drawn = drawn.double()
        error = drawn.std().item() / math.sqrt(DRAWN)
        away = (drawn.mean() - likelihood.mean(given)).abs().item()
        assert away <= SIGMAS * error + 1e-12, f"the mean of draws is off by {away:.3g} +- {error:.2g}"


def check_batch(likelihood: Likelihood, support: Support) -> None:
    """A draw depends on its own parameters and uniform draws only, not on the rest of the batch."""
    given, u = parameters(likelihood).expand(8, -1), keyed(8).uniform("u", (likelihood.uniforms,))
    eight = likelihood.draw(given, u)
    assert torch.equal(likelihood.draw(given, u), eight)
    assert torch.equal(likelihood.draw(given[:3], u[:3]), eight[:3])
    assert torch.equal(likelihood.draw(given.reshape(2, 4, -1), u.reshape(2, 4, -1)), eight.reshape(2, 4))


def check_extremes(likelihood: Likelihood, support: Support) -> None:
    """Log-densities, gradients, draws and means are finite for any parameters, also near the ends; in float32 too."""
    x, _ = grid(support, 20)
    ends = torch.tensor([support.low, support.high]) if isinstance(support, Interval) else x[[0, -1]]
    x = torch.cat((x[:: max(1, len(x) // 10)], ends.to(x.dtype)))
    for dtype in (torch.float32, torch.float64):
        for size in (0.0, 5.0, 100.0, 1e4):
            _check_finite(likelihood, support, x.to(dtype) if x.is_floating_point() else x, size, dtype)


def _check_finite(likelihood: Likelihood, support: Support, x: Tensor, size: float, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(-1, 2, (24, 1, likelihood.parameters), generator=generator).to(dtype)
    given = (size * signs).expand(-1, len(x), -1).clone().requires_grad_()
    score = likelihood.log_prob(given, x.expand(24, -1))
    (gradient,) = torch.autograd.grad(score.sum(), given)
    assert score.shape == (24, len(x))
    assert score.isfinite().all(), f"scores are not finite at parameters of {size:g} in {dtype}"
    assert gradient.isfinite().all(), f"gradients are not finite at parameters of {size:g} in {dtype}"
    drawn = likelihood.draw(given.detach(), keyed(24, dtype=dtype).uniform("u", (len(x), likelihood.uniforms)))
    assert drawn.isfinite().all(), f"draws are not finite at parameters of {size:g} in {dtype}"
    assert likelihood.mean(given[:, 0]).isfinite().all(), f"means are not finite at parameters of {size:g} in {dtype}"
    if isinstance(support, Interval):
        assert (drawn >= support.low).all()
        assert (drawn <= support.high).all()


def check_embed(likelihood: Likelihood, support: Support) -> None:
    """Embeddings are of order one, differ for different values, and have the network's dtype."""
    x, _ = grid(support, 101)
    seen = likelihood.embed(x, torch.zeros(1, dtype=torch.float32))
    assert seen.shape == (len(x), likelihood.embed_dim)
    assert seen.dtype == torch.float32
    assert len(seen.unique(dim=0)) == len(x), "two values have the same embedding"
    if not isinstance(support, Real):
        assert seen.abs().max() <= 1


LAWS: dict[str, Callable[[Likelihood, Support], None]] = {
    "protocol": check_protocol,
    "total": check_total,
    "listed-masses": check_listed_masses,
    "mean": check_mean,
    "draws": check_draws,
    "batch": check_batch,
    "extremes": check_extremes,
    "embed": check_embed,
}
