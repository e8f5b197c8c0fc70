"""The laws bite: each is broken by a model that breaks it, and only then."""

import copy
from typing import ClassVar, Literal

import pytest
import torch
from maquette.core.capabilities import ELBO, Quantised
from maquette.core.families import FamilyConfig
from maquette.core.families.sampling import SamplerConfig, changed, share
from maquette.core.layout import Layout
from maquette.core.likelihoods.bernoulli import Bernoulli
from maquette.core.objective import Losses, Objective, Player, Stage
from maquette.core.samplers.likelihood import normal_log_density
from maquette.core.spaces import Binary, Field, Vector
from maquette.core.testing.bench import shared
from maquette.core.testing.energy_toys import Quadratic
from maquette.core.testing.laws import LAWS, applicable
from maquette.core.testing.laws.velocity import check_tweedie
from torch import nn

SPACE, CONDITION = Vector(dim=2), Vector(dim=1)


class Slanted(torch.autograd.Function):
    """Multiplies by 1.1, and says that it multiplies by one."""

    @staticmethod
    def forward(ctx, z):
        return 1.1 * z

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Affine(nn.Module):
    """x = scale z + shift c: as simple as an invertible, conditional density can be."""

    def __init__(self, layout, fault):
        super().__init__()
        self.layout, self.fault = layout, fault
        self.log_scale = nn.Parameter(torch.zeros(layout.features))
        self.shift = nn.Parameter(torch.ones(layout.context_features, layout.features))
        self.register_buffer("calls", torch.zeros(()))
        if fault == "idle":
            self.spare = nn.Parameter(torch.zeros(1))

    def decode(self, z, condition=None):
        return z * self.log_scale.exp() + self.layout.context(condition, z).vector @ self.shift

    def encode(self, x, condition=None):
        z = (x - self.layout.context(condition, x).vector @ self.shift) / self.log_scale.exp()
        if self.fault == "backward":
            z = Slanted.apply(z)
        return z + 1e-6 if self.fault == "inexact" else z

    def log_prob(self, x, condition=None):
        log_det = -self.log_scale.sum()
        if self.fault == "log-det":
            log_det = 2 * log_det
        if self.fault == "total":
            log_det = log_det + 0.01
        value = normal_log_density(self.encode(x, condition)) + log_det
        return value - value.mean() if self.fault == "batch-density" else value

    def log_prob_estimate(self, x, condition=None, *, noise):
        value = self.log_prob(x, condition)
        if self.fault == "flat":
            value = value.detach() + 0.9 * (value - value.detach())
        return value * (1 + 0.1 * noise.normal("slack")) + (0.1 if self.fault == "biased" else 0)

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

    def stages(self):
        return [Stage("fit", (Player("model", Likelihood(self), (self,)),))]


class Likelihood(Objective):
    def __init__(self, model):
        super().__init__()
        self.model = model
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, batch, noise):
        model = self.model
        losses = -model.log_prob(batch.x, batch.condition)
        if model.fault == "state":
            model.calls += 1
        if model.fault == "counter":
            self.calls += 1
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


class Loose(AffineConfig):
    """Claims less of its inverse than of all else."""

    tolerances: ClassVar[dict[str, float]] = {"inverse": 1e-5}


class Forgetful(AffineConfig):
    """Its state does not lie in the state dictionary."""

    def build(self, space, condition=None):
        model = super().build(space, condition)
        del model.shift
        model.shift = torch.randn(model.layout.context_features, model.layout.features, dtype=torch.float64)
        return model


class Coins(nn.Module):
    """Two coins, the second drawn first: as simple as a product of conditionals can be."""

    direction = "lower"
    likelihood = Bernoulli()

    def __init__(self, layout, fault):
        super().__init__()
        self.layout, self.fault, self.passes = layout, fault, 0
        self.register_buffer("order", torch.tensor([1, 0]))
        self.logits = nn.Parameter(torch.tensor([0.5, -0.3]))
        self.tilt = nn.Parameter(torch.ones(2, layout.context_features))

    def _first(self, context):
        return self.logits[0] + context @ self.tilt[0]

    def conditionals(self, x, condition=None):
        context = self.layout.context(condition, x).vector
        one = self.logits[1] + context @ self.tilt[1] + x[:, 1]
        if self.fault == "restless":
            self.passes += 1
            one = one + self.passes
        two = self._first(context)
        return torch.stack((one, two + x[:, 0] if self.fault == "peek" else two), dim=1)[:, :, None]

    def log_prob(self, x, condition=None):
        value = self.likelihood.log_prob(self.conditionals(x, condition), x).sum(1)
        return 2 * value if self.fault == "product" else value

    def sample(self, n, condition=None, *, noise):
        u = noise.uniform("numbers", (2, 1))
        first = self.likelihood.draw(self._first(self.layout.context(condition, u[:, :, 0]).vector)[:, None], u[:, 1])
        x = torch.stack((first, first), dim=1)
        parameters = self.conditionals(x, condition)[:, 0] + (1e-6 if self.fault == "stale" else 0)
        one = self.likelihood.draw(parameters, u[:, 1 if self.fault == "again" else 0])
        return torch.stack((one, first), dim=1)

    def log_bound(self, x, condition=None, *, noise):
        slack = noise.normal("slack")
        return self.log_prob(x, condition) + slack - {"optimist": 0, "pessimist": 1}.get(self.fault, 0.5)

    def elbo(self, x, condition=None, *, noise):
        price = torch.full_like(x[:, :1], {"cheap": 0.3, "bribe": -0.5}.get(self.fault, 0.5))
        level = self.log_prob(x, condition) - (1.0 if self.fault == "bribe" else 0.0)
        return ELBO(level, {"all": price})


class CoinsConfig(AffineConfig):
    supports: ClassVar[tuple[str, ...]] = ("binary",)
    model: ClassVar[type[nn.Module]] = Coins

    def build(self, space, condition=None):
        return Coins(Layout(space, condition, (Binary,)), self.fault)


class Rounding(nn.Module):
    """Two vectors of a sample, each rounded to one of three entries: as simple as a quantised autoencoder can be."""

    def __init__(self, layout, fault):
        super().__init__()
        self.layout, self.fault = layout, fault
        self.leave, self.enter = nn.Parameter(torch.eye(2)), nn.Parameter(torch.eye(2))
        self.register_buffer("entries", torch.tensor([[0.0], [1.0], [-1.0]]))

    @property
    def codebooks(self):
        return [self]

    def quantise(self, x, condition=None):
        vectors = (x @ self.leave + self.layout.context(condition, x).vector)[:, :, None]
        codes = torch.cdist(vectors, self.entries).argmin(2)
        entries = self.entries[codes]
        passed = {"blocked": 0.0, "twice": 2.0}.get(self.fault, 1.0) * (vectors - vectors.detach())
        decoded = self._decoded(vectors if self.fault == "continuous" else entries + passed)
        return Quantised(decoded, [codes], [vectors], (vectors - entries).square().sum((1, 2)))

    def generate(self, codes, condition=None):
        return self._decoded(self.entries[codes[0]])

    def _decoded(self, vectors):
        return (vectors[:, :, 0] @ self.enter)[:, :, None]


class RoundingConfig(AffineConfig):
    model: ClassVar[type[nn.Module]] = Rounding

    def build(self, space, condition=None):
        return Rounding(Layout(space, condition), self.fault)


class Widening(nn.Module):
    """The denoiser of data N(shift c, exp(2 log_scale)) in closed form: as simple as a diffusion can be."""

    t0, t1, scale = 10.0, 0.1, 10.0

    def __init__(self, layout, fault):
        super().__init__()
        self.layout, self.fault = layout, fault
        self.sampler = SamplerConfig()
        self.log_scale = nn.Parameter(torch.zeros(layout.features))
        self.shift = nn.Parameter(torch.ones(layout.context_features, layout.features))

    def with_sampler(self, **overrides):
        view = copy.deepcopy(self) if self.fault == "copy" else share(self)
        changed_one = self if self.fault == "leak" else view
        changed_one.sampler = changed(self.sampler, {} if self.fault == "stubborn" else overrides)
        return view

    def _mean(self, condition, like):
        return self.layout.context(condition, like).vector @ self.shift

    def _ratio(self):
        """Width of the data with the last noise over that with the first."""
        variance = (2 * self.log_scale).exp()
        return ((variance + self.t1**2) / (variance + self.t0**2)).sqrt()

    def denoise(self, x, sigma, condition=None):
        mean, variance = self._mean(condition, x), (2 * self.log_scale).exp()
        clean = mean + variance / (variance + sigma[:, None] ** 2) * (x - mean)
        return clean + {"noisy": 0.01 * sigma[:, None], "offset": 0.01}.get(self.fault, 0.0)

    def velocity(self, x, t, condition=None):
        v = (x - self.denoise(x, t, condition)) / t[:, None]
        return 1.01 * v if self.fault == "fast" else v

    def encode(self, x, condition=None):
        mean = self._mean(condition, x)
        return ((x - mean) / self._ratio() + mean) / self.scale

    def decode(self, z, condition=None):
        mean = self._mean(condition, z)
        return mean + (self.scale * z - mean) * self._ratio()

    def log_prob(self, x, condition=None):
        log_det = (self._ratio() * self.scale).log().sum()
        return normal_log_density(self.encode(x, condition)) - (1.01 if self.fault == "compressible" else 1) * log_det

    def sample(self, n, condition=None, *, noise):
        return self.decode(self.sampler.temperature * self.layout.prior(n, noise), condition)


class WideningConfig(AffineConfig):
    model: ClassVar[type[nn.Module]] = Widening

    def build(self, space, condition=None):
        return Widening(Layout(space, condition), self.fault)


class Well(nn.Module):
    """A quadratic energy beside its density."""

    def __init__(self, layout, fault):
        super().__init__()
        self.exact, self.fault = Quadratic(layout), fault
        self.register_buffer("calls", torch.zeros(()))

    def log_prob(self, x, condition=None):
        return self.exact.log_prob(x, condition)

    def energy(self, x, condition=None):
        if self.fault == "forceless":
            x = x.detach() + 0.9 * (x - x.detach())
        value = self.exact.energy(x, condition)
        if self.fault == "state":
            self.calls += 1
        return {
            "tilted": value + 1e-3 * x[:, 0],
            "batch": value - value.mean(),
            "mean": value.mean(),
            "infinite": value / 0,
            "unkeyed": value + torch.rand(()) if self.fault == "unkeyed" else value,
        }.get(self.fault, value)


class WellConfig(AffineConfig):
    model: ClassVar[type[nn.Module]] = Well

    def build(self, space, condition=None):
        return Well(Layout(space, condition), self.fault)


class Cells(nn.Module):
    """Independent normals of one scale, on any grid."""

    def __init__(self, layout, fault):
        super().__init__()
        self.layout, self.fault, self.factor = layout, fault, 1.0
        self.log_scale = nn.Parameter(torch.zeros(()))

    def sample(self, n, condition=None, *, noise):
        return self.layout.unflatten(self.factor * self.log_scale.exp() * self.layout.prior(n, noise))

    def at(self, space):
        view = copy.deepcopy(self) if self.fault == "copied" else share(self)
        view.layout = Layout(space)
        if self.fault == "leak":
            self.layout = view.layout
        if self.fault == "louder":
            view.factor = 2.0
        return view


class CellsConfig(AffineConfig):
    spaces: ClassVar[tuple[str, ...]] = ("field",)
    model: ClassVar[type[nn.Module]] = Cells

    def build(self, space, condition=None):
        return Cells(Layout(space, condition), self.fault)


class Frozen(nn.Module):
    """Holds a teacher that was fitted elsewhere."""

    def __init__(self, layout, fault):
        super().__init__()
        self.fault = fault
        self.learner, self.teacher = Affine(layout, ""), nn.Linear(1, 1).requires_grad_(fault == "idle")

    def stages(self):
        if self.fault != "inside":
            return self.learner.stages()
        objective = Likelihood(self.learner)
        objective.network = self  # so that the objective holds what its player trains
        return [Stage("fit", (Player("model", objective, (self,)),))]


class FrozenConfig(AffineConfig):
    model: ClassVar[type[nn.Module]] = Frozen

    def build(self, space, condition=None):
        return Frozen(Layout(space, condition), self.fault)


class LooseCoinsConfig(CoinsConfig):
    """Says that its bound may lie below the density on the mean."""

    unbiased: ClassVar[bool] = False


COINS = Vector(dim=2, support=Binary())


def test_honest_models_keep_all_laws():
    honest = AffineConfig(), CoinsConfig(), RoundingConfig(), WideningConfig(), WellConfig(), CellsConfig()
    owed = {(config, name) for config in honest for name in applicable(config, *where(config))}
    assert {name for _, name in owed} == set(LAWS)
    for config, name in sorted(owed, key=str):
        LAWS[name].check(config, *where(config))


@pytest.mark.parametrize(
    "config", [AffineConfig(), CoinsConfig(), RoundingConfig(), WellConfig()], ids=lambda config: type(config).__name__
)
def test_laws_leave_the_model_that_they_share_as_it_is(config):
    for name in applicable(config, *where(config)):
        model = shared(config, *where(config))
        before = {key: value.clone() for key, value in model.state_dict().items()}
        likelihood = getattr(model, "likelihood", None)
        LAWS[name].check(config, *where(config))
        assert shared(config, *where(config)) is model
        assert not model.training
        assert getattr(model, "likelihood", None) is likelihood
        for key, value in model.state_dict(keep_vars=True).items():
            assert torch.equal(value, before[key]), f"{name} changed {key}"
            assert value.grad is None, f"{name} left a gradient of {key}"


def where(config):
    if isinstance(config, CellsConfig):
        return Field(channels=1, grid=(3,)), None
    return (COINS if isinstance(config, CoinsConfig) else SPACE), CONDITION


@pytest.mark.parametrize(
    ("law", "config"),
    [
        ("declaration", Liar()),
        ("saving", Forgetful()),
        ("sample", AffineConfig(fault="not-finite")),
        ("sample", AffineConfig(fault="precision")),
        ("sample-index", AffineConfig(fault="batch-sample")),
        ("sample-index", AffineConfig(fault="unkeyed")),
        ("sample-condition", AffineConfig(fault="deaf")),
        ("log-prob", AffineConfig(fault="batch-density")),
        ("normalised", AffineConfig(fault="total")),
        ("normalised", CoinsConfig(fault="product")),
        ("sample-density", AffineConfig(fault="width")),
        ("sample-density", CoinsConfig(fault="again")),
        ("estimate", AffineConfig(fault="biased")),
        ("estimate", AffineConfig(fault="flat")),
        ("bound", CoinsConfig(fault="optimist")),
        ("bound", CoinsConfig(fault="pessimist")),
        ("bound", LooseCoinsConfig(fault="optimist")),
        ("elbo", CoinsConfig(fault="cheap")),
        ("elbo", CoinsConfig(fault="bribe")),
        ("causal", CoinsConfig(fault="peek")),
        ("conditionals", CoinsConfig(fault="product")),
        ("conditionals", CoinsConfig(fault="again")),
        ("conditionals", CoinsConfig(fault="stale")),
        ("compression", CoinsConfig(fault="product")),
        ("compression", CoinsConfig(fault="restless")),
        ("inverse", AffineConfig(fault="inexact")),
        ("log-det", AffineConfig(fault="log-det")),
        ("log-det", AffineConfig(fault="backward")),
        ("at", CellsConfig(fault="copied")),
        ("at", CellsConfig(fault="leak")),
        ("at", CellsConfig(fault="louder")),
        ("straight-through", RoundingConfig(fault="blocked")),
        ("straight-through", RoundingConfig(fault="twice")),
        ("straight-through", RoundingConfig(fault="continuous")),
        ("energy", WellConfig(fault="batch")),
        ("energy", WellConfig(fault="mean")),
        ("energy", WellConfig(fault="infinite")),
        ("energy", WellConfig(fault="unkeyed")),
        ("energy", WellConfig(fault="state")),
        ("energy-density", WellConfig(fault="tilted")),
        ("energy-gradient", WellConfig(fault="tilted")),
        ("energy-gradient", WellConfig(fault="forceless")),
        ("velocity", WideningConfig(fault="fast")),
        ("velocity", WideningConfig(fault="noisy")),
        ("velocity", WideningConfig(fault="compressible")),
        ("denoise", WideningConfig(fault="fast")),
        ("denoise", WideningConfig(fault="offset")),
        ("sampler", WideningConfig(fault="copy")),
        ("sampler", WideningConfig(fault="leak")),
        ("sampler", WideningConfig(fault="stubborn")),
        ("gradients", AffineConfig(fault="idle")),
        ("gradients", FrozenConfig(fault="idle")),
        ("purity", AffineConfig(fault="state")),
        ("purity", AffineConfig(fault="counter")),
        ("purity", AffineConfig(fault="generator")),
        ("purity", AffineConfig(fault="stochastic")),
        ("losses", AffineConfig(fault="batch-loss")),
        ("losses", AffineConfig(fault="mean")),
    ],
    ids=lambda value: getattr(value, "fault", None) or (value if isinstance(value, str) else type(value).__name__),
)
def test_a_broken_model_breaks_its_law(law, config):
    with pytest.raises(AssertionError):
        LAWS[law].check(config, *where(config))


def tweedie(fault):
    model = WideningConfig(fault=fault).build(*where(WideningConfig())).double()
    model.t0 = model.scale = 1e5  # drowns the data: the density is that of data with the last noise
    check_tweedie(model, torch.tensor([[0.3, -1.0], [2.0, 0.1]]).double(), torch.tensor([[0.5], [-1.0]]).double())


@pytest.mark.parametrize("fault", ["noisy", "offset"])
def test_the_law_of_tweedie_bites(fault):
    tweedie("")
    with pytest.raises(AssertionError, match="score"):
        tweedie(fault)


@pytest.mark.parametrize("fault", ["", "inside"])
def test_a_teacher_that_is_declared_frozen_is_not_idle(fault):
    LAWS["gradients"].check(FrozenConfig(fault=fault), SPACE, CONDITION)


def test_a_bound_that_says_so_may_be_loose():
    LAWS["bound"].check(LooseCoinsConfig(fault="pessimist"), COINS, CONDITION)


def test_a_family_is_held_to_what_it_declares_of_a_single_law():
    LAWS["inverse"].check(Loose(fault="inexact"), SPACE, CONDITION)
    with pytest.raises(AssertionError):
        LAWS["log-det"].check(Loose(fault="log-det"), SPACE, CONDITION)


def test_every_law_is_seen_to_bite():
    cases = next(mark for mark in test_a_broken_model_breaks_its_law.pytestmark if mark.name == "parametrize").args[1]
    assert {law for law, _ in cases} == set(LAWS)
