"""Imputations against the conditional distributions of models that can be enumerated."""

import math

import pytest
import torch
from maquette.core.errors import SpaceError
from maquette.core.families.autoregressive.fvsbn import FVSBNConfig
from maquette.core.families.autoregressive.made import MADEConfig
from maquette.core.families.autoregressive.transformer import TransformerConfig
from maquette.core.inference.impute import impute
from maquette.core.layout import Layout
from maquette.core.likelihoods.bernoulli import Bernoulli
from maquette.core.spaces import Binary, Levels, Product, Vector
from maquette.core.testing.bench import draw, keyed, shaken
from torch import nn

COINS = Vector(dim=5, support=Binary())
STATES = torch.cartesian_prod(*5 * [torch.arange(2.0, dtype=torch.float64)])
KNOWN = torch.tensor([[False, True, False, False, True]])
GIVEN = torch.tensor([0.0, 1.0, 0.0, 0.0, 1.0], dtype=torch.float64)


@pytest.fixture(scope="module", params=["fvsbn", "made", "transformer"])
def coins(request):
    """Models that draw in the order of the features, and in another one; with and without a cache."""
    known = {"fvsbn": FVSBNConfig(), "made": MADEConfig.example(), "transformer": TransformerConfig.example()}
    config, scale = (
        known[request.param],
        0.7 if request.param == "transformer" else 2.0,
    )  # nothing is near-certain
    return shaken(config, COINS, None, scale=scale)


def posterior(model, given, known):
    """p(states | known features) (32,), and log p(known features)."""
    with torch.no_grad():
        joint = model.log_prob(STATES)
    joint = joint.masked_fill((given != STATES)[:, known[0]].any(1), -math.inf)
    return joint.softmax(0), joint.logsumexp(0)


def frequencies(flat):
    """How often each state occurs."""
    index = (flat * 2 ** torch.arange(4, -1, -1)).sum(-1).long()
    return torch.bincount(index.flatten(), minlength=32).double() / index.numel()


def assert_follows(found, expected, n):
    """Within 4 standard errors, or 3 counts for rare states."""
    assert ((found - expected).abs() <= 4 * (expected * (1 - expected) / n).sqrt() + 3 / n).all()
    assert (found[expected == 0] == 0).all()


def test_one_particle_is_an_exact_draw_if_known_features_come_first(coins):
    n = 4000
    known = torch.zeros(1, 5, dtype=torch.bool)
    known[:, coins.order[:2]] = True
    found = impute(coins, GIVEN.expand(n, -1), known, noise=keyed(n), particles=1)
    assert found.exact.all()
    expected, evidence = posterior(coins, GIVEN, known)
    assert_follows(frequencies(found.value), expected, n)
    torch.testing.assert_close(found.log_evidence, evidence.expand(n))
    assert torch.equal(found.effective, torch.ones(n, dtype=torch.float64))


def test_particles_follow_the_posterior_given_later_features(coins):
    n, k = 2000, 100
    known = torch.zeros(1, 5, dtype=torch.bool)
    known[:, coins.order[[2, 4]]] = True
    found = impute(coins, GIVEN.expand(n, -1), known, noise=keyed(n), particles=k)
    assert not found.exact.any()
    assert (found.value[:, known[0]] == GIVEN[known[0]]).all()
    assert (found.effective >= 1).all()
    assert found.effective.mean() < 0.98 * k
    expected, _ = posterior(coins, GIVEN, known)
    blind = impute(coins, GIVEN.expand(n, -1), known, noise=keyed(n), particles=1)
    # the bias of a draw is of order 1 / k; without weights the distribution is another one
    assert (frequencies(found.value) - expected).abs().max() <= 4 * 0.5 / math.sqrt(n) + 2 / found.effective.mean()
    assert (frequencies(blind.value) - expected).abs().max() > 3 * (frequencies(found.value) - expected).abs().max()


@pytest.mark.parametrize("k", [1, 3, 30])
def test_the_evidence_is_unbiased(coins, k):
    n = 4000
    known = torch.zeros(1, 5, dtype=torch.bool)
    known[:, coins.order[[1, 3, 4]]] = True
    found = impute(coins, GIVEN.expand(n, -1), known, noise=keyed(n), particles=k)
    ratio = (found.log_evidence - posterior(coins, GIVEN, known)[1]).exp()
    assert abs(ratio.mean() - 1) <= 4 * ratio.std() / math.sqrt(n) + 1e-10


def test_weighted_particles_have_the_mean_of_the_posterior(coins):
    n = 500
    found = impute(coins, GIVEN.expand(n, -1), KNOWN, noise=keyed(n), particles=200)
    torch.testing.assert_close(found.weights.sum(1), torch.ones(n, dtype=torch.float64))
    means = (found.weights[..., None] * found.particles).sum(1)
    expected, _ = posterior(coins, GIVEN, KNOWN)
    error = means.std(0) / math.sqrt(n)
    assert ((means.mean(0) - expected @ STATES).abs() <= 4 * error + 1 / found.effective.mean()).all()


def test_everything_or_nothing_known(coins):
    x = draw(COINS, 6, seed=1)
    all_known = impute(coins, x, torch.ones(1, 5, dtype=torch.bool), noise=keyed(6), particles=4)
    assert torch.equal(all_known.value, x)
    torch.testing.assert_close(all_known.log_evidence, coins.log_prob(x).detach())
    nothing = impute(coins, x, torch.zeros(1, 5, dtype=torch.bool), noise=keyed(6), particles=1)
    torch.testing.assert_close(nothing.log_evidence, torch.zeros(6, dtype=torch.float64))
    assert torch.equal(nothing.value, coins.sample(6, noise=keyed(6).fold("particle/0")))


def test_samples_depend_on_their_own_index_and_known_features_only():
    space = Product(parts={"a": Vector(dim=3, support=Levels(count=4)), "b": Vector(dim=4, support=Levels(count=4))})
    condition = Vector(dim=2)
    model = shaken(TransformerConfig(width=4, depth=1, heads=2), space, condition, scale=1.0)
    x, c = draw(space, 8, seed=1), draw(condition, 8, seed=2)
    known = {"a": torch.rand(8, 3) < 0.5, "b": torch.rand(8, 4) < 0.5}
    eight = impute(model, x, known, c, noise=keyed(8), particles=16)
    few = {name: part[:3] for name, part in known.items()}
    other = {name: torch.where(known[name], part, 3 - part)[:3] for name, part in x.items()}
    three = impute(model, other, few, c[:3], noise=keyed(3), particles=16)
    for name in x:
        assert torch.equal(three.value[name], eight.value[name][:3])
        assert (eight.value[name] == x[name])[known[name]].all()
    torch.testing.assert_close(three.log_evidence, eight.log_evidence[:3])
    assert set(eight.exact.tolist()) <= {True, False}


def test_real_features_are_weighted_by_their_density():
    """Two features, the second known: the mean of the first by quadrature."""
    model = shaken(FVSBNConfig(), Vector(dim=2), None, scale=1.0)
    n, given = 2000, torch.tensor([[math.nan, 0.7]], dtype=torch.float64)
    found = impute(model, given.expand(n, -1), torch.tensor([[False, True]]), noise=keyed(n), particles=300)
    axis = torch.linspace(-30, 30, 6001, dtype=torch.float64)
    with torch.no_grad():
        density = model.log_prob(torch.stack((axis, torch.full_like(axis, 0.7)), dim=1)).exp()
    expected, evidence = (axis * density).sum() / density.sum(), 0.01 * density.sum()
    drawn = found.value[:, 0]
    assert abs(drawn.mean() - expected) <= 4 * drawn.std() / math.sqrt(n) + 1 / found.effective.mean()
    ratio = found.log_evidence.exp() / evidence
    assert abs(ratio.mean() - 1) <= 4 * ratio.std() / math.sqrt(n)


def test_what_cannot_be_imputed_is_refused(coins):
    x = draw(COINS, 3, seed=1)
    with pytest.raises(SpaceError, match="expected one row of booleans, or 3 as there are samples, found 2 of bool"):
        impute(coins, x, KNOWN.expand(2, -1), noise=keyed(3))
    with pytest.raises(SpaceError, match="found 1 of float32"):
        impute(coins, x, KNOWN.float(), noise=keyed(3))
    with pytest.raises(SpaceError, match="finite values where they are known"):
        impute(coins, x * math.nan, KNOWN, noise=keyed(3))
    with pytest.raises(SpaceError, match="expected a batch size of 3"):
        impute(coins, x, KNOWN, noise=keyed(2))
    with pytest.raises(ValueError, match="at least one particle"):
        impute(coins, x, KNOWN, noise=keyed(3), particles=0)


class Echoes(nn.Module):
    """Pairs of bits: the first is seldom one and depends on those before it, the second mostly repeats the first."""

    likelihood = Bernoulli()

    def __init__(self):
        super().__init__()
        self.layout = Layout(Vector(dim=7, support=Binary()), None, (Binary,))
        self.register_buffer("order", torch.arange(7))
        self.bias = nn.Parameter(torch.tensor([-1.2, -2.0, -1.0, -2.2, -0.8, -1.9, 0.3], dtype=torch.float64))
        weight = torch.tril(torch.full((7, 7), 0.4, dtype=torch.float64), -1)
        weight[[1, 3, 5], [0, 2, 4]] = 4.5
        self.weight = nn.Parameter(weight)

    def conditionals(self, x, condition=None):
        return (self.bias + x @ self.weight.T)[:, :, None]

    def log_prob(self, x, condition=None):
        return self.likelihood.log_prob(self.conditionals(x), x).sum(1)


class CachedEchoes(Echoes):
    """The same, with sums that are updated feature by feature."""

    def steps(self, n, condition=None):
        sums, i = self.bias.expand(n, -1).clone(), 0

        def step(previous):
            nonlocal sums, i
            if previous is not None:
                sums, i = sums + previous[:, None] * self.weight[:, i], i + 1
            return sums[:, i, None]

        return step


@pytest.mark.parametrize("model", [Echoes(), CachedEchoes()], ids=["uncached", "cached"])
def test_resampling_keeps_the_evidence_and_the_posterior(model):
    n, k = 3000, 20
    states = torch.cartesian_prod(*7 * [torch.arange(2.0, dtype=torch.float64)])
    known, given = torch.zeros(1, 7, dtype=torch.bool), torch.ones(7, dtype=torch.float64)
    known[:, [1, 3, 5]] = True
    found = impute(model, given.expand(n, -1), known, noise=keyed(n), particles=k)
    assert (found.effective < k / 2).double().mean() > 0.9  # these were resampled
    with torch.no_grad():
        joint = model.log_prob(states).masked_fill((given != states)[:, known[0]].any(1), -math.inf)
    ratio = (found.log_evidence - joint.logsumexp(0)).exp()
    assert abs(ratio.mean() - 1) <= 4 * ratio.std() / math.sqrt(n)
    # weighted by their evidence, particles have the mean of the posterior without any bias
    means = (found.weights[..., None] * found.particles).sum(1)
    moments = ratio[:, None] * (means - joint.softmax(0) @ states)
    assert (moments.mean(0).abs() <= 4 * moments.std(0) / math.sqrt(n) + 1e-12).all()
    # and their evidence scatters less than that of as many single particles
    alone = impute(model, given.expand(n, -1), known, noise=keyed(n), particles=1).log_evidence.exp()
    assert ratio.std() < alone.std() / joint.logsumexp(0).exp() / math.sqrt(k)
