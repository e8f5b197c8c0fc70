"""Numbers as people read them."""

import pytest
from maquette.pipelines.console.numbers import (
    counted,
    duration,
    number,
    samples_per_second,
    sigmas,
    time_left,
    with_error,
)


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (0.53124, 0.00971, "0.5312 ± 0.0097"),
        (-12.345, 0.5, "−12.35 ± 0.50"),
        (-0.004, 0.5, "0.00 ± 0.50"),
        (1234.5, 67.8, "1234 ± 68"),
        (3.2e-6, 1e-7, "(3.20 ± 0.10)e-6"),
        (0.0, 0.0, "0"),
        (0.25, None, "0.250"),
        (None, 0.1, "–"),
        (float("nan"), 0.1, "–"),
    ],
)
def test_with_error(value, error, expected):
    assert with_error(value, error) == expected


def test_units():
    assert with_error(1.0, 0.1, "MeV") == "1.00 ± 0.10 MeV"
    assert with_error(1.0, 0.1, "", "not comparable") == "1.00 ± 0.10 (not comparable)"


def test_number():
    assert [number(x) for x in (0, 0.00123, 123456.0, -2.5, None)] == ["0", "0.00123", "1.23e+05", "−2.50", "–"]


def test_sigmas():
    assert sigmas(-0.52, True) == "−0.5 σ"
    assert sigmas(-0.04, True) == "0.0 σ"
    assert sigmas(None, False) == "> 100 σ"
    assert sigmas(101.0, False) == "> 100 σ"
    assert sigmas(None, None) == "–"


def test_counted():
    assert [counted(n, "thread") for n in (0, 1, 1000)] == ["0 threads", "1 thread", "1,000 threads"]


def test_samples_per_second():
    found = [samples_per_second(rate) for rate in (0.123, 4.56, 41_234.5)]
    assert found == ["0.12 samples/s", "4.6 samples/s", "41,000 samples/s"]


def test_time_left():
    assert [time_left(s) for s in (0.2, 59, 130, 9000)] == ["0 s left", "59 s left", "2 min left", "2.5 h left"]


def test_duration():
    assert [duration(s) for s in (4.23, 65, 12000)] == ["4.2 s", "1 min 5 s", "3 h 20 min"]
