"""The laws of laws of single numbers: checks that any registered likelihood inherits, a third party's too.

    from maquette.core.testing.likelihoods import LAWS, cases

    @pytest.mark.parametrize("law", LAWS)
    @pytest.mark.parametrize(("likelihood", "support"), cases(MyLikelihoodConfig))
    def test_law(law, likelihood, support):
        LAWS[law](likelihood, support)

All run in float64 unless they say otherwise.
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
    """The law on every support that it is one on, alone and as a mixture of three if it can be one."""
    sizes = ({"components": 1}, {"components": 3}) if "components" in config.model_fields else ({},)
    supports = [support for support in SUPPORTS if isinstance(support, config.supports)]
    return [(config(**size).build(support), support) for support in supports for size in sizes]


def numbers(support: Support, fine: int = 4000) -> tuple[Tensor, Tensor]:
    """All numbers of a support, or the middles of cells that fill it, and the measure of each.

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


def parameters(law: Likelihood, seed: int = 0, scale: float = 1.0) -> Tensor:
    """Arbitrary parameters (P,)."""
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(law.parameters, generator=generator, dtype=torch.float64)


def masses(law: Likelihood, support: Support, given: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers that fill the support, and the mass of each under parameters (P,)."""
    x, measure = numbers(support)
    return x, measure * law.log_prob(given.expand(len(x), -1), x).exp()


def check_protocol(law: Likelihood, support: Support) -> None:
    """It has all that networks and models ask of a likelihood."""
    assert isinstance(law, Likelihood)


def check_total(law: Likelihood, support: Support) -> None:
    """Masses of all levels sum to one within 1e-10, densities integrate to one within 1e-3."""
    for seed in range(3):
        _, mass = masses(law, support, parameters(law, seed))
        away = abs(mass.sum().item() - 1)
        assert away <= (1e-10 if law.discrete else 1e-3), f"the total is off one by {away:.2e}"


def check_listed_masses(law: Likelihood, support: Support) -> None:
    """A law that calls itself discrete lists its masses, and they are what it scores levels with."""
    assert isinstance(law, Discrete) == law.discrete
    if isinstance(law, Discrete):
        x, _ = numbers(support)
        given = torch.stack([parameters(law, seed) for seed in range(3)])
        expected = torch.stack([law.log_prob(row.expand(len(x), -1), x) for row in given])
        torch.testing.assert_close(law.log_masses(given), expected)


def check_mean(law: Likelihood, support: Support) -> None:
    """The mean is that of the numbers under the law."""
    for seed in range(3):
        given = parameters(law, seed)
        x, mass = masses(law, support, given)
        found, expected = law.mean(given).item(), (x * mass).sum().item()
        away = abs(found - expected) / max(abs(expected), 1e-300)
        assert away <= (1e-10 if law.discrete else 1e-3), f"the mean is {found:.6g}, expected {expected:.6g}"


def check_draws(law: Likelihood, support: Support) -> None:
    """The empirical distribution lies within 4 standard errors of the law's own, everywhere; so does the mean."""
    for scale in (0.0, 1.0, 2.0):
        given = parameters(law, 1, scale)
        drawn = law.draw(given.expand(DRAWN, -1), keyed(DRAWN, seed=7).uniform("u", (law.uniforms,)))
        x, mass = masses(law, support, given)
        assert drawn.shape == (DRAWN,)
        assert drawn.dtype == x.dtype
        _, measure = numbers(support)
        edges = x if law.discrete else x + measure / 2
        found = torch.searchsorted(drawn.sort().values, edges, right=True) / DRAWN
        away = (found - mass.cumsum(0)).abs().max().item()
        assert away <= SIGMAS * 0.5 / math.sqrt(DRAWN), f"the distribution of draws is off by {away:.4f}"
        drawn = drawn.double()
        error = drawn.std().item() / math.sqrt(DRAWN)
        away = (drawn.mean() - law.mean(given)).abs().item()
        assert away <= SIGMAS * error + 1e-12, f"the mean of draws is off by {away:.3g} +- {error:.2g}"


def check_rows(law: Likelihood, support: Support) -> None:
    """A draw is a function of its own parameters and uniform numbers, whatever lies beside it."""
    given, u = parameters(law).expand(8, -1), keyed(8).uniform("u", (law.uniforms,))
    eight = law.draw(given, u)
    assert torch.equal(law.draw(given, u), eight)
    assert torch.equal(law.draw(given[:3], u[:3]), eight[:3])
    assert torch.equal(law.draw(given.reshape(2, 4, -1), u.reshape(2, 4, -1)), eight.reshape(2, 4))


def check_extremes(law: Likelihood, support: Support) -> None:
    """Scores, gradients, draws and means are finite for any parameters, also at and near the ends; in float32 too."""
    x, _ = numbers(support, 20)
    ends = torch.tensor([support.low, support.high]) if isinstance(support, Interval) else x[[0, -1]]
    x = torch.cat((x[:: max(1, len(x) // 10)], ends.to(x.dtype)))
    for dtype in (torch.float32, torch.float64):
        for size in (0.0, 5.0, 100.0, 1e4):
            _check_finite(law, support, x.to(dtype) if x.is_floating_point() else x, size, dtype)


def _check_finite(law: Likelihood, support: Support, x: Tensor, size: float, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(-1, 2, (24, 1, law.parameters), generator=generator).to(dtype)
    given = (size * signs).expand(-1, len(x), -1).clone().requires_grad_()
    score = law.log_prob(given, x.expand(24, -1))
    (gradient,) = torch.autograd.grad(score.sum(), given)
    assert score.shape == (24, len(x))
    assert score.isfinite().all(), f"scores are not finite at parameters of {size:g} in {dtype}"
    assert gradient.isfinite().all(), f"gradients are not finite at parameters of {size:g} in {dtype}"
    drawn = law.draw(given.detach(), keyed(24, dtype=dtype).uniform("u", (len(x), law.uniforms)))
    assert drawn.isfinite().all(), f"draws are not finite at parameters of {size:g} in {dtype}"
    assert law.mean(given[:, 0]).isfinite().all(), f"means are not finite at parameters of {size:g} in {dtype}"
    if isinstance(support, Interval):
        assert (drawn >= support.low).all()
        assert (drawn <= support.high).all()


def check_embed(law: Likelihood, support: Support) -> None:
    """A network sees numbers of order one, no two of them alike, in its own dtype."""
    x, _ = numbers(support, 101)
    seen = law.embed(x, torch.zeros(1, dtype=torch.float32))
    assert seen.shape == (len(x), law.embed_dim)
    assert seen.dtype == torch.float32
    assert len(seen.unique(dim=0)) == len(x), "two numbers look alike"
    if not isinstance(support, Real):
        assert seen.abs().max() <= 1


LAWS: dict[str, Callable[[Likelihood, Support], None]] = {
    "protocol": check_protocol,
    "total": check_total,
    "listed-masses": check_listed_masses,
    "mean": check_mean,
    "draws": check_draws,
    "rows": check_rows,
    "extremes": check_extremes,
    "embed": check_embed,
}
