"""The laws of bounds where the truth is known: probabilistic PCA, for any family that can represent it.

    from maquette.core.testing.principal import LAWS, ProbabilisticPCA

    @pytest.mark.parametrize("law", LAWS)
    @pytest.mark.parametrize("context", [0, 3])
    def test_law(law, context):
        LAWS[law](my_model, context)

where `my_model(truth, widen)` returns a `Bounded` model in float64 with the p(x, z) of `truth` (a `ProbabilisticPCA`)
and its posterior with standard deviations `widen` times as large.

A model with the exact posterior in closed form, which keeps them all; two are checked here:

>>> class Exact:
...     direction = "lower"
...     def __init__(self, truth, widen):
...         self.truth, self.widen = truth, widen
...     def log_bound(self, x, condition=None, *, noise):
...         e = noise.normal("z", (LATENT,))
...         z = x @ self.truth.gain.T + self.widen * self.truth.posterior_scale * e
...         scale = self.widen * self.truth.posterior_scale
...         prior, posterior = -z.square() / 2, -e.square() / 2 - scale.log()
...         residual = (x - z @ self.truth.w.T) / self.truth.sigma
...         likelihood = -residual.square() / 2 - math.log(self.truth.sigma * math.sqrt(2 * math.pi))
...         return likelihood.sum(1) + (prior - posterior).sum(1)
>>> for check in (check_posterior, check_evidence):
...     check(Exact, 0)
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..capabilities import Bounded
from ..inference.importance import importance_bound
from ..spaces import Space, Vector
from .bench import SIGMAS, TOLERANCES, draw, keyed

DIM, LATENT = 5, 2
SAMPLES = 200


class ProbabilisticPCA:
    """x = W z + A c + s e, z and e standard normal (Tipping & Bishop, J. R. Stat. Soc. B 61 (1999) 611).

    The evidence is Gaussian. The columns of W are orthogonal, so the posterior has a diagonal covariance.

    Args:
        context_features: features of the condition c; 0 for none.

    Attributes:
        w: W, (5, 2).
        a: A, (5, context_features).
        sigma: s.
        gain: the posterior's mean is `gain` (x - A c), (2, 5).
        posterior_scale: the posterior's standard deviations, (2,).

    >>> truth = ProbabilisticPCA(context_features=3)
    >>> x, c = truth.batch(4)
    >>> truth.log_prob(x, c).shape
    torch.Size([4])
    """

    def __init__(self, context_features: int = 0) -> None:
        generator = torch.Generator().manual_seed(3)
        basis = torch.linalg.qr(torch.randn(DIM, LATENT, generator=generator, dtype=torch.float64)).Q
        self.w = basis * torch.tensor([1.5, 0.7], dtype=torch.float64)
        self.a = torch.randn(DIM, context_features, generator=generator, dtype=torch.float64)
        self.sigma = 0.5
        variance = self.sigma**2 / (self.w.square().sum(0) + self.sigma**2)
        self.posterior_scale, self.gain = variance.sqrt(), variance[:, None] * self.w.T / self.sigma**2

    @property
    def space(self) -> Space:
        return Vector(dim=DIM)

    @property
    def condition(self) -> Space | None:
        return Vector(dim=self.a.shape[1]) if self.a.shape[1] else None

    @property
    def covariance(self) -> Tensor:
        """Of x given c, (5, 5)."""
        return self.w @ self.w.T + self.sigma**2 * torch.eye(DIM, dtype=torch.float64)

    def log_prob(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """log p(x | c) of x (B, 5) and c (B, context_features), nats, (B,)."""
        mean = torch.zeros(DIM, dtype=torch.float64) if c is None else c @ self.a.T
        found: Tensor = torch.distributions.MultivariateNormal(mean, self.covariance).log_prob(x)
        return found

    def batch(self, n: int) -> tuple[Tensor, Tensor | None]:
        """n arbitrary samples and conditions, not drawn from the model."""
        x, c = draw(self.space, n, seed=1), None if self.condition is None else draw(self.condition, n, seed=2)
        assert isinstance(x, Tensor)
        assert c is None or isinstance(c, Tensor)
        return x, c


MakeModel = Callable[[ProbabilisticPCA, float], Bounded]


def check_posterior(make: MakeModel, context_features: int) -> None:
    """With the exact posterior, every draw of the bound is the evidence."""
    truth = ProbabilisticPCA(context_features)
    x, c = truth.batch(SAMPLES)
    away = make(truth, 1.0).log_bound(x, c, noise=keyed(SAMPLES)) - truth.log_prob(x, c)
    assert away.abs().max() <= TOLERANCES["exact"], f"the bound is off by {away.abs().max():.2e} nats"


def check_evidence(make: MakeModel, context_features: int) -> None:
    """With another posterior, the mean bound is lower by its KL from the exact one (within 4 standard errors)."""
    truth, widen = ProbabilisticPCA(context_features), 1.4
    x, c = truth.batch(SAMPLES)
    gap = truth.log_prob(x, c) - make(truth, widen).log_bound(x, c, noise=keyed(SAMPLES))
    kl = LATENT * (0.5 * (widen**2 - 1) - math.log(widen))
    error = (gap.std() / math.sqrt(SAMPLES)).item()
    away = abs(gap.mean().item() - kl)
    assert away <= SIGMAS * error, f"the bound is low by {gap.mean():.3f} +- {error:.3f}, expected {kl:.3f}"


def check_importance(make: MakeModel, context_features: int) -> None:
    """Bounds of 1, 10 and 500 draws rise to the evidence, and their errors are right.

    K draws are low by var(w) / 2 K, with weights w of mean one: enough samples to see that for K = 500.
    """
    truth, n = ProbabilisticPCA(context_features), 40 * SAMPLES
    x, c = truth.batch(n)
    model, exact = make(truth, 3.0), truth.log_prob(x, c)
    one, ten, many = (importance_bound(model, x, c, noise=keyed(n), draws=k) for k in (1, 10, 500))
    means = [each.mean().item() for each in (one.value, ten.value, many.value, exact)]
    told = ", ".join(f"{mean:.4f}" for mean in means)
    assert sorted(set(means)) == means, f"bounds of 1, 10 and 500 draws and the evidence are {told} nats"
    assert means[3] - means[2] <= 0.01 <= means[3] - means[1], f"they do not converge: {told} nats"
    pull = ((many.value - exact) / many.error).std().item()
    assert 0.9 < pull < 1.1, f"bounds of 500 draws scatter by {pull:.2f} of their errors"


LAWS: dict[str, Callable[[MakeModel, int], None]] = {
    "posterior": check_posterior,
    "evidence": check_evidence,
    "importance": check_importance,
}
