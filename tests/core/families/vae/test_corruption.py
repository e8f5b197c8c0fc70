"""Corruptions: their moments, their range, and the supports they take."""

import pytest
import torch
from maquette.core.errors import ConfigError
from maquette.core.families.vae.corruption import GaussianCorruption, Mask, Redraw, corruption_of
from maquette.core.spaces import Binary, Interval, Levels, Real
from maquette.core.testing.bench import keyed


@pytest.mark.parametrize(
    ("corruption", "support", "value", "expected"),
    [
        (GaussianCorruption(scale=0.2), Real(), 3.0, {"mean": 3.0, "std": 0.2}),
        (GaussianCorruption(scale=0.001), Interval(low=-50.0, high=150.0), 0.0, {"mean": 0.0, "std": 0.2}),
        (GaussianCorruption(scale=10.0), Interval(low=-1.0, high=2.0), 0.0, {"least": -1.0, "most": 2.0}),
        (Redraw(probability=0.4), Binary(), 1.0, {"mean": 0.8, "least": 0.0}),
        (Redraw(probability=0.5), Levels(count=5), 4, {"mean": 3.0, "least": 0, "most": 4}),
        (Redraw(probability=1.0), Interval(low=-1.0, high=3.0), 0.0, {"mean": 1.0, "std": 4 / 12**0.5}),
        (Mask(probability=0.25), Real(), 2.0, {"mean": 1.5, "least": 0.0, "most": 2.0}),
        (Mask(probability=0.25), Interval(low=-1.0, high=3.0), 3.0, {"mean": 2.0, "least": -1.0}),
    ],
)
def test_corruptions_have_the_stated_distribution(corruption, support, value, expected):
    x = torch.full((4000, 3), value, dtype=torch.int64 if isinstance(support, Levels) else torch.float64)
    y = corruption.apply(x, support, keyed(4000))
    assert y.dtype == x.dtype
    found = {"mean": y.double().mean(), "std": y.double().std(), "least": y.min(), "most": y.max()}
    for name, figure in expected.items():
        assert float(found[name]) == pytest.approx(figure, abs=0.06 if name in ("mean", "std") else 0)
    assert torch.equal(corruption.apply(x[:7], support, keyed(7)), y[:7])


@pytest.mark.parametrize(
    ("corruption", "support", "sentence"),
    [
        (Redraw(), Real(), "redraw takes samples of binary or levels or interval support, found real; take"),
        (
            GaussianCorruption(),
            Levels(count=3),
            "gaussian takes samples of real or interval support, found levels; take",
        ),
    ],
)
def test_a_corruption_of_another_support_is_refused(corruption, support, sentence):
    with pytest.raises(ConfigError, match=sentence):
        corruption_of(support, corruption)


def test_defaults_are_gaussian_noise_and_redraws():
    assert corruption_of(Real(), None) == corruption_of(Interval(), None) == GaussianCorruption()
    assert corruption_of(Binary(), None) == corruption_of(Levels(count=3), None) == Redraw()
