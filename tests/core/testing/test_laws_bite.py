"""The laws bite: each is broken by a model that breaks it, and only then."""

from typing import ClassVar, Literal

import pytest
import torch
from maquette.core.families import FamilyConfig
from maquette.core.layout import Layout
from maquette.core.objective import Act, Losses, Objective, Role
from maquette.core.samplers.likelihood import normal_log_density
from maquette.core.spaces import Vector
from maquette.core.testing.laws import LAWS, applicable
from torch import nn

SPACE, CONDITION = Vector(dim=2), Vector(dim=1)


class Affine(nn.Module):
    """x = scale z + shift c: as simple as an invertible, conditional density can be."""

    def __init__(self, layout, fault):
        super().__init__()
        self.layout, self.fault = layout, fault
        self.log_scale = nn.Parameter(torch.zeros(layout.width))
        self.shift = nn.Parameter(torch.ones(layout.context, layout.width))
        self.register_buffer("calls", torch.zeros(()))
        if fault == "idle":
            self.spare = nn.Parameter(torch.zeros(1))

    def decode(self, z, condition=None):
        return z * self.log_scale.exp() + self.layout.columns(condition, z) @ self.shift

    def encode(self, x, condition=None):
        z = (x - self.layout.columns(condition, x) @ self.shift) / self.log_scale.exp()
        return z + 1e-6 if self.fault == "inexact" else z

    def log_prob(self, x, condition=None):
        log_det = -self.log_scale.sum()
        if self.fault == "log-det":
            log_det = 2 * log_det
        if self.fault == "total":
            log_det = log_det + 0.01
        value = normal_log_density(self.encode(x, condition)) + log_det
        return value - value.mean() if self.fault == "batch-density" else value

    def sample(self, n, condition=None, *, noise):
        z = self.layout.prior(n, noise)
        if self.fault == "batch-sample":
            z = z - z.mean(0)
        if self.fault == "width":
            z = 1.5 * z
        if self.fault == "deaf":
            condition = torch.zeros_like(condition)
        if self.fault == "unkeyed":
            z = torch.randn_like(z)
        if self.fault == "not-finite":
            z = z / 0
        x = self.decode(z, condition)
        return x.double() if self.fault == "precision" else x

    def acts(self):
        return [Act("fit", (Role("model", Likelihood(self), (self,)),))]


class Likelihood(Objective):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, batch, noise):
        model = self.model
        losses = -model.log_prob(batch.x, batch.condition)
        if model.fault == "state":
            model.calls += 1
        if model.fault == "generator":
            torch.rand(())
        if model.fault == "stochastic":
            losses = losses + torch.rand(())
        if model.fault == "batch-loss":
            losses = losses - losses.mean()
        if model.fault == "mean":
            losses = losses.mean()
        return Losses(losses)


class AffineConfig(FamilyConfig):
    summary: ClassVar[str] = "test"
    reference: ClassVar[str] = "none"
    spaces: ClassVar[tuple[str, ...]] = ("vector",)
    model: ClassVar[type[nn.Module]] = Affine

    kind: Literal["affine"] = "affine"
    fault: str = ""

    def build(self, space, condition=None):
        return Affine(Layout(space, condition), self.fault)


class Liar(AffineConfig):
    model: ClassVar[type[nn.Module]] = nn.Linear


class Forgetful(AffineConfig):
    """Its state does not lie in the state dictionary."""

    def build(self, space, condition=None):
        model = super().build(space, condition)
        del model.shift
        model.shift = torch.randn(model.layout.context, model.layout.width, dtype=torch.float64)
        return model


def test_an_honest_model_keeps_all_laws():
    owed = applicable(AffineConfig(), SPACE, CONDITION)
    assert owed == list(LAWS)
    for name in owed:
        LAWS[name].check(AffineConfig(), SPACE, CONDITION)


@pytest.mark.parametrize(
    ("law", "config"),
    [
        ("declaration", Liar()),
        ("saving", Forgetful()),
        ("sample", AffineConfig(fault="not-finite")),
        ("sample", AffineConfig(fault="precision")),
        ("sample-rows", AffineConfig(fault="batch-sample")),
        ("sample-rows", AffineConfig(fault="unkeyed")),
        ("sample-condition", AffineConfig(fault="deaf")),
        ("log-prob", AffineConfig(fault="batch-density")),
        ("normalised", AffineConfig(fault="total")),
        ("sample-density", AffineConfig(fault="width")),
        ("inverse", AffineConfig(fault="inexact")),
        ("log-det", AffineConfig(fault="log-det")),
        ("gradients", AffineConfig(fault="idle")),
        ("purity", AffineConfig(fault="state")),
        ("purity", AffineConfig(fault="generator")),
        ("purity", AffineConfig(fault="stochastic")),
        ("losses", AffineConfig(fault="batch-loss")),
        ("losses", AffineConfig(fault="mean")),
    ],
    ids=lambda value: getattr(value, "fault", None) or (value if isinstance(value, str) else type(value).__name__),
)
def test_a_broken_model_breaks_its_law(law, config):
    with pytest.raises(AssertionError):
        LAWS[law].check(config, SPACE, CONDITION)


def test_every_law_is_seen_to_bite():
    cases = next(mark for mark in test_a_broken_model_breaks_its_law.pytestmark if mark.name == "parametrize").args[1]
    assert {law for law, _ in cases} == set(LAWS)
