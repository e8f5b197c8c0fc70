"""Numbers as people read them."""

from __future__ import annotations

import math

MISSING = "–"


def number(value: float | None, digits: int = 3) -> str:
    """A figure to some significant digits; a dash where there is none.

    >>> number(0.0012345), number(None)
    ('0.00123', '–')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    if 1e-4 <= abs(value) < 1e5:
        text = f"{value:.{max(0, digits - 1 - _exponent(value))}f}"
    else:
        text = f"{value:.{digits - 1}e}"
    return text.replace("-", "−", 1) if text.startswith("-") else text


def with_error(value: float | None, error: float | None, unit: str = "", remark: str = "") -> str:
    """A value and its error, both to the second digit of the error.

    >>> with_error(0.53124, 0.00971, "MeV")
    '0.5312 ± 0.0097 MeV'
    """
    if value is None or not math.isfinite(value):
        return MISSING
    tail = (f" {unit}" if unit else "") + (f" ({remark})" if remark else "")
    if error is None or not math.isfinite(error) or error <= 0:
        return number(value) + tail
    if max(abs(value), error) >= 1e5 or max(abs(value), error) < 1e-4:
        scale = _exponent(max(abs(value), error))
        decimals = max(0, scale - _exponent(error) + 1)
        ten = 10.0**scale
        return f"({_signed(value / ten, decimals)} ± {error / ten:.{decimals}f})e{scale}{tail}"
    decimals = max(0, 1 - _exponent(error))
    return f"{_signed(value, decimals)} ± {error:.{decimals}f}{tail}"


def sigmas(significance: float | None, passes: bool | None) -> str:
    """How many standard errors a figure lies beyond its floor; a dash where that is not judged.

    >>> sigmas(-0.52, True), sigmas(None, False)
    ('−0.5 σ', '> 100 σ')
    """
    if passes is None:
        return MISSING
    return "> 100 σ" if significance is None or significance > 100 else f"{_signed(significance, 1)} σ"


def counted(n: int, thing: str) -> str:
    """A number of things.

    >>> counted(1, "thread"), counted(1000, "thread")
    ('1 thread', '1,000 threads')
    """
    return f"{n:,} {thing}{'s' * (n != 1)}"


def duration(seconds: float) -> str:
    """A time.

    >>> duration(45.23), duration(725), duration(12000)
    ('45.2 s', '12 min 5 s', '3 h 20 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def samples_per_second(rate: float) -> str:
    """A throughput to two digits.

    >>> samples_per_second(41234.5)
    '41,000 samples/s'
    """
    rounded = float(f"{rate:.2g}")
    return f"{rounded:,.0f} samples/s" if rounded >= 10 else f"{rounded:g} samples/s"


def time_left(seconds: float) -> str:
    """A remaining time in its largest unit.

    >>> time_left(40.2), time_left(130), time_left(9000)
    ('40 s left', '2 min left', '2.5 h left')
    """
    if seconds < 60:
        return f"{seconds:.0f} s left"
    return f"{seconds / 60:.0f} min left" if seconds < 3600 else f"{seconds / 3600:.1f} h left"


def _exponent(value: float) -> int:
    return math.floor(math.log10(abs(value))) if value else 0


def _signed(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    if not text.startswith("-"):
        return text
    return "−" * (float(text) != 0) + text[1:]  # what rounds to zero has no sign
