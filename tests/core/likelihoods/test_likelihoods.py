"""Every registered law of single numbers: its total, its draws, its mean, its gradients, and what it refuses."""

import math

import pytest
import torch
from maquette.core.errors import ConfigError
from maquette.core.likelihoods import Discrete, Likelihood, likelihood_of, likelihoods
from maquette.core.likelihoods.beta import Beta, BetaConfig
from maquette.core.likelihoods.interval import EDGE, Unit
from maquette.core.likelihoods.logistic import LogisticMixture
from maquette.core.likelihoods.logit_normal import LogitNormal, LogitNormalConfig
from maquette.core.likelihoods.mixture import Mixture
from maquette.core.likelihoods.truncated_normal import TruncatedNormal
from maquette.core.spaces import Binary, Interval, Levels, Real, Torus
from maquette.core.testing.laws import keyed

SUPPORTS = {"real": Real(), "interval": Interval(low=-1.0, high=3.0), "binary": Binary(), "levels": Levels(count=256)}
LAWS = {
    f"{name}-{components}" if components else name: (config, support, components)
    for name, config in likelihoods.items()
    for support in SUPPORTS.values()
    for components in ((1, 3) if "components" in config.model_fields else (0,))
    if isinstance(support, config.supports)
}


@pytest.fixture(params=LAWS, name="law")
def built(request):
    config, support, components = LAWS[request.param]
    return likelihood_of(support, config(components=components) if components else config())


@pytest.fixture(name="support")
def its_support(request, law):
    return LAWS[request.node.callspec.params["law"]][1]


def numbers(support, fine=4000):
    """All numbers of a support, or the middles of cells that fill it, and the measure of each; cells narrow towards the
    ends of an interval, where densities may be steep."""
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


def parameters(law, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(law.parameters, generator=generator, dtype=torch.float64)


def masses(law, support, given):
    x, measure = numbers(support)
    return x, measure * law.log_prob(given.expand(len(x), -1), x).exp()


def test_it_is_a_likelihood(law):
    assert isinstance(law, Likelihood)


@pytest.mark.parametrize("seed", range(3))
def test_the_total_is_one(law, support, seed):
    _, mass = masses(law, support, parameters(law, seed))
    assert mass.sum().item() == pytest.approx(1, abs=1e-10 if law.discrete else 1e-3)


def test_listed_masses_are_those_of_the_levels(law, support):
    assert isinstance(law, Discrete) == law.discrete
    if law.discrete:
        x, _ = numbers(support)
        given = torch.stack([parameters(law, seed) for seed in range(3)])
        expected = torch.stack([law.log_prob(row.expand(len(x), -1), x) for row in given])
        torch.testing.assert_close(law.log_masses(given), expected)


@pytest.mark.parametrize("seed", range(3))
def test_the_mean_is_that_of_the_law(law, support, seed):
    given = parameters(law, seed)
    x, mass = masses(law, support, given)
    assert law.mean(given).item() == pytest.approx((x * mass).sum().item(), rel=1e-10 if law.discrete else 1e-3)


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.0])
def test_draws_follow_the_law(law, support, scale):
    """The empirical distribution lies within 4 standard errors of the law's own, everywhere; so does the mean."""
    given, n = parameters(law, 1, scale), 20_000
    with torch.no_grad():
        drawn = law.draw(given.expand(n, -1), keyed(n, seed=7).uniform("u", (law.uniforms,)))
    x, mass = masses(law, support, given)
    assert drawn.shape == (n,)
    assert drawn.dtype == x.dtype
    _, measure = numbers(support)
    edges = x if law.discrete else x + measure / 2
    found = torch.searchsorted(drawn.sort().values, edges, right=True) / n
    assert (found - mass.cumsum(0)).abs().max() <= 4 * 0.5 / math.sqrt(n)
    drawn = drawn.double()
    assert (drawn.mean() - law.mean(given)).abs() <= 4 * drawn.std() / math.sqrt(n) + 1e-12


def test_a_draw_is_a_function_of_its_own_numbers(law):
    given, u = parameters(law).expand(8, -1), keyed(8).uniform("u", (law.uniforms,))
    eight = law.draw(given, u)
    assert torch.equal(law.draw(given, u), eight)
    assert torch.equal(law.draw(given[:3], u[:3]), eight[:3])
    assert torch.equal(law.draw(given.reshape(2, 4, -1), u.reshape(2, 4, -1)), eight.reshape(2, 4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0.0, 5.0, 100.0, 1e4])
def test_scores_gradients_and_draws_are_finite_at_the_extremes(law, support, size, dtype):
    """Also at the ends of the interval, the lowest and highest level, and far out on the line."""
    x, _ = numbers(support, 20)
    ends = torch.tensor([support.low, support.high]) if isinstance(support, Interval) else x[[0, -1]]
    x = torch.cat((x[:: max(1, len(x) // 10)], ends.to(x.dtype)))
    x = x.to(dtype) if x.is_floating_point() else x
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(-1, 2, (24, 1, law.parameters), generator=generator).to(dtype)
    given = (size * signs).expand(-1, len(x), -1).clone().requires_grad_()
    score = law.log_prob(given, x.expand(24, -1))
    (gradient,) = torch.autograd.grad(score.sum(), given)
    assert score.shape == (24, len(x))
    assert score.isfinite().all()
    assert gradient.isfinite().all()
    drawn = law.draw(given.detach(), keyed(24, dtype=dtype).uniform("u", (len(x), law.uniforms)))
    assert drawn.isfinite().all()
    assert law.mean(given[:, 0]).isfinite().all()
    if isinstance(support, Interval):
        assert (drawn >= support.low).all()
        assert (drawn <= support.high).all()


def test_a_network_sees_numbers_of_order_one(law, support):
    x, _ = numbers(support, 101)
    seen = law.spread(x, torch.zeros(1, dtype=torch.float32))
    assert seen.shape == (len(x), law.columns)
    assert seen.dtype == torch.float32
    assert len(seen.unique(dim=0)) == len(x), "two numbers look alike"
    if not isinstance(support, Real):
        assert seen.abs().max() <= 1


@pytest.mark.parametrize(("name", "config"), list(likelihoods.items()))
def test_another_support_is_refused_in_a_sentence(name, config):
    with pytest.raises(ConfigError, match=f"{name}: a law of .* numbers, found torus ones"):
        likelihood_of(Torus(), config())


def test_every_support_but_the_torus_has_one_usual_law():
    for support in SUPPORTS.values():
        assert sum(isinstance(support, config.usual) for _, config in likelihoods.items()) == 1
        assert isinstance(likelihood_of(support), Likelihood)
    with pytest.raises(ConfigError, match="no usual law of torus numbers"):
        likelihood_of(Torus())


# --- closed forms -------------------------------------------------------------------------------------

UNIT = Unit(-1.0, 3.0)
X = torch.tensor([-0.9, 0.0, 0.7, 2.5], dtype=torch.float64)


def given(*values):
    return torch.tensor(values, dtype=torch.float64).expand(len(X), -1)


def test_beta_is_that_of_torch():
    law = torch.distributions.Beta(torch.tensor(2.0).double(), torch.tensor(0.5).double())
    expected = law.log_prob((X + 1) / 4) - math.log(4)
    torch.testing.assert_close(Mixture(Beta(UNIT), 1).log_prob(given(0, math.log(2.0), math.log(0.5)), X), expected)


def test_logit_normal_is_a_normal_of_the_logit():
    t = (X + 1) / 4
    scale = 1e-3 + math.exp(0.2)
    normal = torch.distributions.Normal(torch.tensor(0.3).double(), torch.tensor(scale).double())
    expected = normal.log_prob(t.logit()) - (t * (1 - t)).log() - math.log(4)
    torch.testing.assert_close(Mixture(LogitNormal(UNIT), 1).log_prob(given(0, 0.3, 0.2), X), expected)


def test_truncated_normal_is_a_normal_over_its_mass():
    normal = torch.distributions.Normal(torch.tensor(0.5).double(), torch.tensor(1e-3 + math.exp(-1.0)).double())
    inside = normal.cdf(torch.tensor(1.0).double()) - normal.cdf(torch.tensor(0.0).double())
    expected = normal.log_prob((X + 1) / 4) - inside.log() - math.log(4)
    torch.testing.assert_close(Mixture(TruncatedNormal(UNIT), 1).log_prob(given(0, 0.0, -1.0), X), expected)


@pytest.mark.parametrize(
    ("config", "values"),
    [(BetaConfig(), (0, math.log(0.02), math.log(0.5))), (LogitNormalConfig(), (0, -20.0, math.log(4)))],
)
def test_mass_beyond_the_edge_is_kept_in_the_sliver(config, values):
    """A sample at the very end scores the mean density of the sliver, and nothing of the total is lost."""
    law, parameters = config.build(Interval()), torch.tensor(values, dtype=torch.float64)
    _, mass = masses(law, Interval(), parameters)
    drawn = law.draw(parameters.expand(4000, -1), keyed(4000).uniform("u", (law.uniforms,)))
    assert mass[0] > 0.5
    assert (drawn < EDGE).double().mean().item() == pytest.approx(mass[0].item(), abs=4 * 0.5 / math.sqrt(4000))
    assert mass.sum().item() == pytest.approx(1, abs=1e-5)


def test_sharp_logistics_keep_their_precision():
    """Far from every component a level's log-mass falls linearly, where a difference of sigmoids would be zero."""
    law = LogisticMixture(256, 1)
    parameters = torch.tensor([0.0, -0.5, -7.0])
    score = law.log_prob(parameters.expand(3, -1), torch.tensor([200, 210, 220]))
    slope = -2 / 255 * math.exp(7) * 10
    torch.testing.assert_close(score.diff(), torch.tensor([slope, slope]), rtol=1e-4, atol=0)


@pytest.mark.parametrize("log_scale", [-7.0, 0.0, 7.0])
def test_logistic_masses_sum_to_one_in_float32(log_scale):
    masses = LogisticMixture(256, 1).log_masses(torch.tensor([0.0, 0.9, log_scale])).exp()
    assert masses.sum().item() == pytest.approx(1, abs=2e-6)


@pytest.mark.parametrize("log_scale", [-100.0, 100.0])
def test_the_mean_of_logit_normals_holds_at_the_least_and_largest_scale(log_scale):
    law = LogitNormal(Unit(0.0, 1.0))
    means, scale = law.shapes(torch.linspace(-20, 20, 41, dtype=torch.float64), torch.tensor(log_scale).double())
    z = torch.linspace(-9, 9, 20_001, dtype=torch.float64)
    expected = torch.sigmoid(means[:, None] + scale * z) @ torch.softmax(-0.5 * z.square(), 0)
    torch.testing.assert_close(law.mean(means, scale.expand(41)), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("one", [-100.0, 5.9, 7.9, 100.0])
@pytest.mark.parametrize("two", [-100.0, 5.9, 7.9, 100.0])
def test_beta_masses_sum_to_one_in_float32(one, two):
    """Also for the flattest and sharpest shapes, whose normalisation is a small difference of large numbers."""
    x, measure = numbers(Interval())
    given = torch.tensor([0.0, one, two]).expand(len(x), -1)
    total = (measure * BetaConfig().build(Interval()).log_prob(given, x.float()).exp()).sum()
    assert total.item() == pytest.approx(1, abs=5e-4)
