"""The laws of probabilistic PCA bite: each is broken by a model that violates it, and only then."""

import pytest
import torch
from maquette.core.testing.principal import LAWS


class Principal:
    """The truth itself, with its posterior widened."""

    direction = "lower"

    def __init__(self, truth, widen, fault):
        self.truth, self.widen, self.fault = truth, widen, fault

    def log_bound(self, x, c=None, *, noise):
        truth, deviation = self.truth, self.widen * self.truth.posterior_scale
        e = torch.full((len(x), 2), 0.5).double() if self.fault == "still" else noise.normal("z", (2,))
        if self.fault == "offset":
            e = e + 0.1
        center = x if c is None else x - c @ truth.a.T
        z = center @ truth.gain.T + deviation * e
        prior = torch.distributions.Normal(0, 1).log_prob(z).sum(1)
        posterior = (torch.distributions.Normal(0, 1).log_prob(e) - deviation.log()).sum(1)
        seen = torch.distributions.Normal(center, truth.sigma).log_prob(z @ truth.w.T).sum(1)
        return prior + seen - posterior + {"total": 1e-9, "deaf": (self.widen - 1) * 0.5}.get(self.fault, 0)


def made(fault):
    return lambda truth, widen: Principal(truth, widen, fault)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("context", [0, 3])
def test_the_truth_breaks_none(law, context):
    LAWS[law](made(""), context)


@pytest.mark.parametrize(
    ("law", "fault"),
    [("posterior", "total"), ("evidence", "deaf"), ("importance", "still"), ("importance", "offset")],
)
def test_a_broken_bound_breaks_its_law(law, fault):
    with pytest.raises(AssertionError):
        LAWS[law](made(fault), 3)
