"""Every registered likelihood keeps the laws of likelihoods; closed forms, extreme parameters, and refusals."""

import math

import pytest
import torch
from maquette.core.errors import ConfigError
from maquette.core.likelihoods import Likelihood, likelihood_of, likelihoods
from maquette.core.likelihoods.bernoulli import Bernoulli
from maquette.core.likelihoods.beta import Beta, BetaConfig
from maquette.core.likelihoods.categorical import Categorical
from maquette.core.likelihoods.interval import EDGE, UnitInterval
from maquette.core.likelihoods.logistic import LogisticMixture
from maquette.core.likelihoods.logit_normal import LogitNormal, LogitNormalConfig
from maquette.core.likelihoods.mixture import Mixture
from maquette.core.likelihoods.truncated_normal import TruncatedNormal
from maquette.core.spaces import Interval, Torus
from maquette.core.testing.bench import keyed
from maquette.core.testing.likelihoods import LAWS, SUPPORTS, cases, grid, masses

EVERY = [
    pytest.param(*case, id=f"{name}-{number}")
    for name, config in likelihoods.items()
    for number, case in enumerate(cases(config))
]


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("likelihood", "support"), EVERY)
def test_law(law, likelihood, support):
    LAWS[law](likelihood, support)


@pytest.mark.parametrize(("name", "config"), list(likelihoods.items()))
def test_another_support_is_refused(name, config):
    with pytest.raises(ConfigError, match=f"{name}: a distribution of .* values, found torus ones"):
        likelihood_of(Torus(), config())
    with pytest.raises(ConfigError, match="found torus ones"):
        config().build(Torus())


def test_every_support_but_the_torus_has_one_default_likelihood():
    for support in SUPPORTS:
        assert sum(isinstance(support, config.default_for) for _, config in likelihoods.items()) == 1
        assert isinstance(likelihood_of(support), Likelihood)
    with pytest.raises(ConfigError, match="no default likelihood of torus values"):
        likelihood_of(Torus())


# --- closed forms -------------------------------------------------------------------------------------

UNIT = UnitInterval(-1.0, 3.0)
X = torch.tensor([-0.9, 0.0, 0.7, 2.5], dtype=torch.float64)


def given(*values):
    return torch.tensor(values, dtype=torch.float64).expand(len(X), -1)


def test_beta_is_that_of_torch():
    beta = torch.distributions.Beta(torch.tensor(2.0).double(), torch.tensor(0.5).double())
    expected = beta.log_prob((X + 1) / 4) - math.log(4)
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
def test_mass_beyond_the_edge_is_kept_in_the_end_cell(config, values):
    """A sample at the very end scores the mean density of the end cell, and nothing of the total is lost."""
    likelihood, parameters = config.build(Interval()), torch.tensor(values, dtype=torch.float64)
    _, mass = masses(likelihood, Interval(), parameters)
    drawn = likelihood.draw(parameters.expand(4000, -1), keyed(4000).uniform("u", (likelihood.uniforms,)))
    assert mass[0] > 0.5
    assert (drawn < EDGE).double().mean().item() == pytest.approx(mass[0].item(), abs=4 * 0.5 / math.sqrt(4000))
    assert mass.sum().item() == pytest.approx(1, abs=1e-5)


def test_log_masses_far_from_every_component_are_precise():
    """Far from every component a level's log-mass falls linearly, where a difference of sigmoids would be zero."""
    likelihood = LogisticMixture(256, 1)
    parameters = torch.tensor([0.0, -0.5, -7.0])
    score = likelihood.log_prob(parameters.expand(3, -1), torch.tensor([200, 210, 220]))
    slope = -2 / 255 * math.exp(7) * 10
    torch.testing.assert_close(score.diff(), torch.tensor([slope, slope]), rtol=1e-4, atol=0)


@pytest.mark.parametrize("log_scale", [-7.0, 0.0, 7.0])
def test_logistic_masses_sum_to_one_in_float32(log_scale):
    masses = LogisticMixture(256, 1).log_masses(torch.tensor([0.0, 0.9, log_scale])).exp()
    assert masses.sum().item() == pytest.approx(1, abs=2e-6)


@pytest.mark.parametrize("log_scale", [-100.0, 100.0])
def test_the_mean_of_logit_normals_holds_at_the_least_and_largest_scale(log_scale):
    likelihood = LogitNormal(UnitInterval(0.0, 1.0))
    means, scale = likelihood.constrain(
        torch.linspace(-20, 20, 41, dtype=torch.float64), torch.tensor(log_scale).double()
    )
    z = torch.linspace(-9, 9, 20_001, dtype=torch.float64)
    expected = torch.sigmoid(means[:, None] + scale * z) @ torch.softmax(-0.5 * z.square(), 0)
    torch.testing.assert_close(likelihood.mean(means, scale.expand(41)), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("log_alpha", [-100.0, 5.9, 7.9, 100.0])
@pytest.mark.parametrize("log_beta", [-100.0, 5.9, 7.9, 100.0])
def test_beta_masses_sum_to_one_in_float32(log_alpha, log_beta):
    """Also for the extreme parameters, whose normalisation is a small difference of large numbers."""
    x, measure = grid(Interval())
    given = torch.tensor([0.0, log_alpha, log_beta]).expand(len(x), -1)
    total = (measure * BetaConfig().build(Interval()).log_prob(given, x.float()).exp()).sum()
    assert total.item() == pytest.approx(1, abs=5e-4)


def test_a_restricted_level_is_never_drawn_and_the_others_keep_their_ratios():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4000, 7, generator=generator)
    allowed = torch.rand(4000, 7, generator=generator) < 0.5
    allowed[:, 2] |= ~allowed.any(1)
    highest = torch.full((4000, 1), 1 - 2.0**-24)  # distribution functions end below it by rounding
    for u in (highest, torch.rand(4000, 1, generator=generator)):
        drawn = Categorical(7).draw(Categorical(7).restrict(logits, allowed), u)
        assert allowed.gather(1, drawn[:, None]).all()
    masses = Categorical(7).log_masses(Categorical(7).restrict(logits, allowed)).exp()
    expected = logits.softmax(1) * allowed
    torch.testing.assert_close(masses, expected / expected.sum(1, keepdim=True))


def test_a_restricted_coin_shows_what_is_left():
    coin, logit = Bernoulli(), torch.tensor([[0.3], [0.3], [0.3]])
    restricted = coin.restrict(logit, torch.tensor([[True, True], [True, False], [False, True]]))
    assert torch.equal(restricted[0], logit[0])
    assert coin.draw(restricted[1:], torch.tensor([[1e-7], [1 - 1e-7]])).tolist() == [0, 1]
    assert coin.log_prob(restricted[1:], torch.tensor([0.0, 1.0])).tolist() == [0, 0]
