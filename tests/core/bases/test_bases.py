"""Base distributions: the random field against its dense covariance, and flows over it."""

import math

import pytest
import torch
from maquette.core.bases import RandomField, RandomFieldConfig
from maquette.core.bases.uniform import Uniform, UniformAngles
from maquette.core.config import parse
from maquette.core.errors import ConfigError
from maquette.core.families.flows.autoregressive import AutoregressiveFlowConfig
from maquette.core.families.flows.spline import SplineConfig
from maquette.core.layout import Layout
from maquette.core.spaces import Field, Interval, Torus, Vector
from maquette.core.testing.bench import keyed
from maquette.core.testing.laws import LAWS

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
    power = config._interpolated(k.norm(dim=1))
    return (power[:, None, None] * distance.cos()).sum(0) / (sides * config.spacing).prod()


@pytest.mark.parametrize("grid", GRIDS)
def test_density_is_that_of_the_dense_covariance(grid):
    base = SPECTRUM.build(Layout(field(grid))).double()
    covariance = dense(SPECTRUM, grid)
    expected = torch.distributions.MultivariateNormal(torch.zeros(len(covariance), dtype=torch.float64), covariance)
    z = torch.randn(5, len(covariance), dtype=torch.float64)
    torch.testing.assert_close(base.log_prob(z), expected.log_prob(z), rtol=0, atol=1e-10)


def test_samples_have_the_spectrum_and_log_prob_matches_them():
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
    torch.testing.assert_close(config._interpolated(k), torch.tensor([8.0, 8.0, 4.0, 2.0, 2.0], dtype=torch.float64))


def test_a_spectrum_is_a_density_per_volume():
    """White noise of unit variance in cells of volume v has the spectrum v, whatever the cells."""
    config = RandomFieldConfig(wavenumbers=(1.0,), power=(0.125,), spacing=0.5)
    torch.testing.assert_close(config.build(Layout(field((2, 4, 2)))).variances, torch.ones(2, 4, 2).double())


@pytest.mark.parametrize("law", ["sample-index", "inverse", "log-det", "saving"])
@pytest.mark.parametrize(
    "config", [SplineConfig(transforms=2, hidden=(8,), bins=4), AutoregressiveFlowConfig.example()]
)
def test_flows_over_a_field_keep_the_laws(config, law):
    LAWS[law].check(config.model_copy(update={"base": SPECTRUM}), field((3, 2)), Vector(dim=2))


def test_a_flow_over_a_random_field_starts_as_the_identity():
    config = SplineConfig(transforms=4, hidden=(8,), base=SPECTRUM)
    x = torch.randn(4, 1, 3, 2)
    torch.testing.assert_close(config.build(field((3, 2))).encode(x), x.flatten(1))


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        (Field(channels=1, grid=(4, 4), periodic=(True, False)), "expected a field periodic along every axis"),
        (Vector(dim=4), "expected a field periodic along every axis"),
        (Vector(dim=4, support=Interval()), "features on an interval have a uniform base distribution"),
    ],
)
def test_a_random_field_on_another_space_is_refused(space, sentence):
    with pytest.raises(ConfigError, match=sentence):
        SplineConfig(base=SPECTRUM).build(space)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"wavenumbers": [1.0, 0.5]}, "expected increasing wavenumbers, and as many powers"),
        ({"wavenumbers": [1.0]}, "expected increasing wavenumbers, and as many powers"),
        ({"wavenumbers": [-1.0, 0.5]}, "greater than or equal to 0"),
        ({"wavenumbers": [1.0, math.inf]}, "finite number"),
        ({"power": [1.0, 0.0]}, "greater than 0"),
        ({"power": [1.0, math.nan]}, "greater than 0|finite number"),
        ({"spacing": 0.0}, "greater than 0"),
        ({"spacing": [1.0, math.inf]}, "finite number"),
    ],
)
def test_a_broken_table_is_refused(wrong, sentence):
    table = {"kind": "random-field", "wavenumbers": [0.5, 1.0], "power": [1.0, 2.0], **wrong}
    with pytest.raises(ConfigError, match=sentence):
        parse(SplineConfig, {"base": table})


@pytest.mark.parametrize(("power", "spacing"), [(1e-60, 1.0), (1.0, 1e-30)])
def test_variances_that_single_precision_cannot_hold_are_refused(power, spacing):
    config = RandomFieldConfig(wavenumbers=(1.0,), power=(power,), spacing=spacing)
    with pytest.raises(ConfigError, match="which single precision cannot hold; change units"):
        config.build(Layout(field((2, 2))))


def test_a_uniform_base_has_no_density_outside_its_bounds():
    base = Uniform(Layout(Vector(dim=2, support=Interval()), supports=(Interval,)), 3.0)
    z = torch.tensor([[3.0, -3.0], [3.000001, 0.0], [3.1, 0.0], [0.0, -30.0]])
    inside = -2 * math.log(6.0)
    assert base.log_prob(z).tolist() == pytest.approx([inside, inside, -math.inf, -math.inf])


def test_angles_are_interpolated_along_the_shorter_arc():
    base = UniformAngles(Layout(Vector(dim=2, support=Torus()), supports=(Torus,)))
    a, b = torch.tensor([[3.0, 0.5]]), torch.tensor([[-3.0, 1.5]])
    half = base.interpolate(a, b, torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(half[[0, 2], 0], torch.cat((a, b)))
    torch.testing.assert_close(half[1, 0].abs(), torch.tensor([math.pi, 1.0]))


def test_interpolated_fields_are_about_as_likely_as_the_ends():
    base = SPECTRUM.build(Layout(field((4, 6))))
    a, b = base.draw(2, keyed(2)).double().chunk(2)
    b = b * (base.filter(a, -0.5).norm() / base.filter(b, -0.5).norm())  # white noises of one length
    walk = base.interpolate(a, b, torch.linspace(0, 1, 5).double())
    torch.testing.assert_close(walk[[0, 4]], torch.stack((a, b)))
    torch.testing.assert_close(base.log_prob(walk[:, 0]), base.log_prob(a).expand(5))


def test_quantiles_are_those_of_each_feature():
    probabilities = torch.tensor([0.1, 0.5, 0.8], dtype=torch.float64)
    angles = UniformAngles(Layout(Vector(dim=1, support=Torus()), supports=(Torus,)))
    for base, n in ((SPECTRUM.build(Layout(field((4, 6)))), 4000), (angles, 40_000)):
        z = base.draw(n, keyed(n)).flatten()
        for probability, value in zip(probabilities, base.icdf(probabilities), strict=True):
            assert abs((z < value).double().mean() - probability) < 0.01


def test_a_random_field_needs_a_field():
    with pytest.raises(ConfigError, match="expected a field, found a vector"):
        RandomField(Layout(Vector(dim=4)), torch.ones(4, dtype=torch.float64))
