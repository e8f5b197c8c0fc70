"""Chains through codes against a Gaussian whose conditional distribution is known in closed form."""

import math

import pytest
import torch
from maquette.core.errors import SpaceError
from maquette.core.families.flows.circular_spline import CircularSplineConfig
from maquette.core.families.flows.coupling import CouplingConfig
from maquette.core.inference.impute_chain import impute_by_chain
from maquette.core.layout import Layout
from maquette.core.samplers.likelihood import normal_log_density
from maquette.core.spaces import Torus, Vector
from maquette.core.testing.bench import keyed, shaken

FACTOR = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [-0.5, 0.3, 0.7]], dtype=torch.float64)
SHIFT = torch.tensor([0.5, -1.0, 0.2], dtype=torch.float64)


class Affine:
    """x = L z + m + c."""

    def __init__(self, factor=FACTOR):
        self.layout, self.factor = Layout(Vector(dim=3), Vector(dim=3)), factor

    def encode(self, x, condition=None):
        return torch.linalg.solve_triangular(self.factor, (x - SHIFT - condition).T, upper=False).T

    def decode(self, z, condition=None):
        return z @ self.factor.T + SHIFT + condition

    def log_prob(self, x, condition=None):
        return normal_log_density(self.encode(x, condition)) - self.factor.diagonal().log().sum()

    def sample(self, n, condition=None, *, noise):
        return self.decode(self.layout.prior(n, noise), condition)


class Coloured(Affine):
    """The same distribution with codes of standard deviation 2."""

    class base:
        @staticmethod
        def white(n, noise):
            return noise.normal("prior", (3,))

        @staticmethod
        def color(white, context):
            return 2 * white

        @staticmethod
        def mean(context):
            return 0.0

    def encode(self, x, condition=None):
        return 2 * super().encode(x, condition)

    def decode(self, z, condition=None):
        return super().decode(z / 2, condition)

    def log_prob(self, x, condition=None):
        return normal_log_density(super().encode(x, condition)) - self.factor.diagonal().log().sum()

    def sample(self, n, condition=None, *, noise):
        return self.decode(2 * self.layout.prior(n, noise), condition)


@pytest.mark.parametrize("scale", [0.5, 2.0])
@pytest.mark.parametrize("flow", [Affine(), Coloured()], ids=["normal", "coloured"])
@pytest.mark.parametrize("unknown", [[0], [0, 2]], ids=str)
def test_chains_follow_the_conditional_distribution_of_a_gaussian(flow, unknown, scale):
    n = 2000
    c = torch.tensor([0.1, 0.2, -0.3], dtype=torch.float64).expand(n, -1)
    given = torch.tensor([math.nan, 0.4, 0.9], dtype=torch.float64).expand(n, -1)
    known = torch.ones(1, 3, dtype=torch.bool)
    known[:, unknown] = False
    seen = known[0].nonzero()[:, 0]
    found = impute_by_chain(flow, given, known, c, noise=keyed(n), steps=200, scale=scale)
    covariance = FACTOR @ FACTOR.T
    across, gain = covariance[unknown], torch.linalg.inv(covariance[seen][:, seen])
    mean = SHIFT + c[0]
    expected = mean[unknown] + across[:, seen] @ gain @ (given[0] - mean)[seen]
    conditional = across[:, unknown] - across[:, seen] @ gain @ across[:, seen].T
    drawn = found.value[:, unknown]
    assert torch.equal(found.value[:, seen], given[:, seen])
    error = drawn.std(0) / math.sqrt(n)
    assert ((drawn.mean(0) - expected).abs() <= 4 * error).all()
    error = (conditional.diagonal()[:, None] * conditional.diagonal() + conditional.square()).div(n).sqrt()
    assert ((drawn.T.cov().reshape(conditional.shape) - conditional).abs() <= 4 * error).all()
    assert ((found.mean[:, unknown].mean(0) - expected).abs() <= 4 * found.mean[:, unknown].std(0) / math.sqrt(n)).all()
    assert 0.1 < found.acceptance.mean() < 0.6


def test_the_effective_sample_size_predicts_the_variance_of_means():
    n, c = 500, torch.zeros(500, 3, dtype=torch.float64)
    known = torch.tensor([[False, True, True]])
    found = impute_by_chain(Affine(), c, known, c, noise=keyed(n), steps=1000)
    within = impute_by_chain(Affine(), c, known, c, noise=keyed(n, seed=1), steps=200).value[:, 0].var()
    size = within / found.mean[:, 0].var()
    assert 1 / (1 / found.effective).mean() == pytest.approx(size.item(), rel=0.35)  # few batches: the inverse is fair


def test_a_chain_that_cannot_move_has_a_small_effective_sample_size():
    c = torch.zeros(4, 3, dtype=torch.float64)
    narrow = Affine(torch.diag(torch.full((3,), 1e-6)).double())
    found = impute_by_chain(
        narrow, c + 100, torch.tensor([[False, True, True]]), c, noise=keyed(4), steps=50, scale=1e-9
    )
    assert (found.effective <= 25).all()
    assert found.value.isfinite().all()


def test_chains_of_a_flow_depend_on_their_own_sample_only():
    flow = shaken(CouplingConfig.example(), Vector(dim=4), Vector(dim=2), scale=0.3)
    x, c = keyed(6).normal("x", (4,)), keyed(6).normal("c", (2,))
    known = torch.tensor([[True, False, False, True]])
    six = impute_by_chain(flow, x, known, c, noise=keyed(6), steps=20)
    two = impute_by_chain(flow, x[:2], known, c[:2], noise=keyed(2), steps=20)
    torch.testing.assert_close(two.value, six.value[:2])
    assert torch.equal(six.value[:, known[0]], x[:, known[0]])
    assert not torch.equal(six.value, x)


def test_features_that_are_not_real_and_short_chains_are_refused():
    torus = Vector(dim=2, support=Torus())
    flow = shaken(CircularSplineConfig.example(), torus, None)
    x = torch.zeros(3, 2, dtype=torch.float64)
    with pytest.raises(SpaceError, match="needs real features, found torus ones"):
        impute_by_chain(flow, x, torch.tensor([[True, False]]), noise=keyed(3))
    c = torch.zeros(3, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match="at least 8 steps"):
        impute_by_chain(Affine(), c, torch.ones(1, 3, dtype=torch.bool), c, noise=keyed(3), steps=2)
