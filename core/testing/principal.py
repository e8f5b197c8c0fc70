"""The laws of bounds where the truth is known: probabilistic principal components, for any family that can hold them.

    from maquette.core.testing.principal import LAWS, PrincipalComponents

    @pytest.mark.parametrize("law", LAWS)
    @pytest.mark.parametrize("context", [0, 3])
    def test_law(law, context):
        LAWS[law](my_model, context)

where `my_model(truth, widen)` returns a `Bounded` model in float64: p(x, z) is that of `truth`, and so is the
posterior, but for deviations `widen` times as large.
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


class PrincipalComponents:
    """x = W z + A c + s e, z and e standard normal (Tipping & Bishop, J. R. Stat. Soc. B 61 (1999) 611).

    The evidence is Gaussian. The columns of W are orthogonal, so that the posterior is diagonal.

    Args:
        context: numbers of the condition c.

    Attributes:
        w: W, (5, 2).
        a: A, (5, context).
        sigma: s.
        pull: the posterior's mean is `pull` (x - A c), (2, 5).
        deviation: the posterior's standard deviations, (2,).
    """

    def __init__(self, context: int = 0) -> None:
        generator = torch.Generator().manual_seed(3)
        basis = torch.linalg.qr(torch.randn(DIM, LATENT, generator=generator, dtype=torch.float64)).Q
        self.w = basis * torch.tensor([1.5, 0.7], dtype=torch.float64)
        self.a = torch.randn(DIM, context, generator=generator, dtype=torch.float64)
        self.sigma = 0.5
        variance = self.sigma**2 / (self.w.square().sum(0) + self.sigma**2)
        self.deviation, self.pull = variance.sqrt(), variance[:, None] * self.w.T / self.sigma**2

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
        """log p(x | c) of rows (B, 5) and (B, context), nats, (B,)."""
        mean = torch.zeros(DIM, dtype=torch.float64) if c is None else c @ self.a.T
        found: Tensor = torch.distributions.MultivariateNormal(mean, self.covariance).log_prob(x)
        return found

    def rows(self, n: int) -> tuple[Tensor, Tensor | None]:
        """Arbitrary samples and conditions, not those that the model expects."""
        x, c = draw(self.space, n, seed=1), None if self.condition is None else draw(self.condition, n, seed=2)
        assert isinstance(x, Tensor)
        assert c is None or isinstance(c, Tensor)
        return x, c


MakeModel = Callable[[PrincipalComponents, float], Bounded]


def check_posterior(make: MakeModel, context: int) -> None:
    """At the exact posterior, the bound is the evidence whatever is drawn."""
    truth = PrincipalComponents(context)
    x, c = truth.rows(SAMPLES)
    away = make(truth, 1.0).log_bound(x, c, noise=keyed(SAMPLES)) - truth.log_prob(x, c)
    assert away.abs().max() <= TOLERANCES["exact"], f"the bound is off by {away.abs().max():.2e} nats"


def check_evidence(make: MakeModel, context: int) -> None:
    """At another posterior, the bound is lower by its divergence from the exact one on the mean (within 4 sigma)."""
    truth, widen = PrincipalComponents(context), 1.4
    x, c = truth.rows(SAMPLES)
    gap = truth.log_prob(x, c) - make(truth, widen).log_bound(x, c, noise=keyed(SAMPLES))
    divergence = LATENT * (0.5 * (widen**2 - 1) - math.log(widen))
    error = (gap.std() / math.sqrt(SAMPLES)).item()
    away = abs(gap.mean().item() - divergence)
    assert away <= SIGMAS * error, f"the bound is low by {gap.mean():.3f} +- {error:.3f}, expected {divergence:.3f}"


def check_importance(make: MakeModel, context: int) -> None:
    """Bounds from 1, 10 and 500 draws climb to the evidence, and errors are what they say.

    K draws are low by var(w) / 2 K, with weights w of mean one: enough samples to see that for K = 500.
    """
    truth, n = PrincipalComponents(context), 40 * SAMPLES
    x, c = truth.rows(n)
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
