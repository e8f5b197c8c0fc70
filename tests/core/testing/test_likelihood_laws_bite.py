"""The laws of likelihoods bite: a Bernoulli distribution with a fault breaks its law, and a correct one breaks none."""

from dataclasses import dataclass

import pytest
import torch
from maquette.core.likelihoods.bernoulli import Bernoulli
from maquette.core.spaces import Binary
from maquette.core.testing.likelihoods import LAWS


@dataclass(frozen=True)
class FaultyBernoulli(Bernoulli):
    fault: str = ""

    def embed(self, x, like):
        seen = super().embed(x, like)
        return {"blind": 0 * seen, "wide": 5 * seen, "double": seen.double()}.get(self.fault, seen)

    def log_prob(self, parameters, x):
        score = super().log_prob(parameters, x)
        if self.fault == "steep":
            return score - (0 * parameters[..., 0]).sqrt()
        return score + 1e-6 if self.fault == "total" else score

    def log_masses(self, parameters):
        listed = super().log_masses(parameters)
        return listed.flip(-1) if self.fault == "listed" else listed

    def draw(self, parameters, u):
        if self.fault == "biased":
            u = u**1.2
        if self.fault == "company":
            u = (u + u.mean()) % 1
        if self.fault == "unkeyed":
            u = torch.rand_like(u)
        return super().draw(parameters, u)

    def mean(self, parameters):
        mean = super().mean(parameters)
        return 0.99 * mean if self.fault == "mean" else mean


@pytest.mark.parametrize("law", LAWS)
def test_a_correct_likelihood_breaks_none(law):
    LAWS[law](FaultyBernoulli(), Binary())


@pytest.mark.parametrize(
    ("law", "fault"),
    [
        ("total", "total"),
        ("listed-masses", "listed"),
        ("mean", "mean"),
        ("draws", "biased"),
        ("batch", "company"),
        ("batch", "unkeyed"),
        ("extremes", "steep"),
        ("embed", "blind"),
        ("embed", "wide"),
        ("embed", "double"),
    ],
)
def test_a_fault_breaks_its_law(law, fault):
    with pytest.raises(AssertionError):
        LAWS[law](FaultyBernoulli(fault=fault), Binary())
