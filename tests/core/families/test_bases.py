"""Base laws: the random field against its dense covariance, and flows over it."""

import math

import pytest
import torch
from maquette.core.config import parse
from maquette.core.errors import ConfigError
from maquette.core.families.flows.autoregressive import AutoregressiveFlowConfig
from maquette.core.families.flows.bases import RandomFieldConfig
from maquette.core.families.flows.spline import SplineConfig
from maquette.core.layout import Layout
from maquette.core.spaces import Field, Interval, Vector
from maquette.core.testing.laws import LAWS, keyed

SPECTRUM = RandomFieldConfig(wavenumbers=(0.0, 0.7, 2.0, 4.0), power=(3.0, 2.0, 0.5, 0.4), spacing=0.8)
GRIDS = [(7,), (4, 6), (3, 2, 4)]


def field(grid, channels=1):
    return Field(channels=channels, grid=grid, periodic=(True,) * len(grid))


def dense(config, grid):
    """C(r - r') = (1 / V) sum over modes of P(k) cos(k (r - r')), cell by cell, with no FFT at all."""
    cells = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float64) for n in grid)).reshape(-1, len(grid))
    sides = torch.tensor(grid, dtype=torch.float64)
    waves = (cells + sides / 2).remainder(sides) - sides / 2  # signed mode numbers
    k = 2 * math.pi * waves / (sides * config.spacing)
    phase = k @ (cells * config.spacing).T  # (modes, cells)
    distance = phase[:, :, None] - phase[:, None, :]
    power = config._at(k.norm(dim=1))
    return (power[:, None, None] * distance.cos()).sum(0) / (sides * config.spacing).prod()


@pytest.mark.parametrize("grid", GRIDS)
def test_density_is_that_of_the_dense_covariance(grid):
    base = SPECTRUM.build(Layout(field(grid))).double()
    covariance = dense(SPECTRUM, grid)
    law = torch.distributions.MultivariateNormal(torch.zeros(len(covariance), dtype=torch.float64), covariance)
    z = torch.randn(5, len(covariance), dtype=torch.float64)
    torch.testing.assert_close(base.log_prob(z), law.log_prob(z), rtol=0, atol=2e-6)  # the table is kept in float32


def test_samples_have_the_spectrum_and_know_it():
    grid, n = (4, 6), 20_000
    base = SPECTRUM.build(Layout(field(grid, channels=2))).double()
    z = base.draw(n, keyed(n)).unflatten(1, (2, *grid))
    modes = torch.fft.fftn(z, dim=(2, 3), norm="ortho").abs().square()
    mean, error = modes.mean(0), modes.std(0) / math.sqrt(n)
    assert ((mean - base.variances) / error).abs().max() < 5
    entropy = -base.log_prob(z.flatten(1))
    expected = 0.5 * 2 * (base.variances.log() + 1 + math.log(2 * math.pi)).sum()
    assert abs(entropy.mean() - expected) < 4 * entropy.std() / math.sqrt(n)


def test_the_table_is_interpolated_in_logarithms():
    config = RandomFieldConfig(wavenumbers=(1.0, 4.0), power=(8.0, 2.0))
    k = torch.tensor([0.0, 1.0, 2.0, 4.0, 9.0], dtype=torch.float64)
    torch.testing.assert_close(config._at(k), torch.tensor([8.0, 8.0, 4.0, 2.0, 2.0], dtype=torch.float64))


def test_a_spectrum_is_a_density_per_volume():
    """White noise of unit variance in cells of volume v has the spectrum v, whatever the cells."""
    config = RandomFieldConfig(wavenumbers=(1.0,), power=(0.125,), spacing=0.5)
    torch.testing.assert_close(config.build(Layout(field((2, 4, 2)))).variances, torch.ones(2, 4, 2))


@pytest.mark.parametrize("law", ["sample-rows", "inverse", "log-det", "saving"])
@pytest.mark.parametrize(
    "config", [SplineConfig(transforms=2, hidden=(8,), bins=4), AutoregressiveFlowConfig.example()]
)
def test_flows_over_a_field_keep_the_laws(config, law):
    LAWS[law].check(config.model_copy(update={"base": SPECTRUM}), field((3, 2)), Vector(dim=2))


def test_over_a_field_a_flow_starts_as_that_field():
    config = SplineConfig(transforms=4, hidden=(8,), base=SPECTRUM)
    x = torch.randn(4, 1, 3, 2)
    torch.testing.assert_close(config.build(field((3, 2))).encode(x), x.flatten(1))


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        (Field(channels=1, grid=(4, 4), periodic=(True, False)), "expected a field periodic along every axis"),
        (Vector(dim=4), "expected a field periodic along every axis"),
        (Vector(dim=4, support=Interval()), "numbers of an interval lie over a uniform law"),
    ],
)
def test_a_base_that_does_not_fit_is_refused(space, sentence):
    with pytest.raises(ConfigError, match=sentence):
        SplineConfig(base=SPECTRUM).build(space)


def test_a_broken_table_is_refused():
    with pytest.raises(ConfigError, match="as many positive powers as rising, non-negative wavenumbers"):
        parse(SplineConfig, {"base": {"kind": "random-field", "wavenumbers": [1.0, 0.5], "power": [1.0, 2.0]}})
