"""Numbers as people read them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MISSING = "–"


def number(value: float | None, digits: int = 3) -> str:
    """A figure to some significant digits; a dash where there is none."""
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
    """`0.5312 ± 0.0097 MeV (remark)`: both to the second digit of the error."""
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


def sigmas(estimate: Mapping[str, Any]) -> str:
    """How far a figure lies beyond its floor, in standard errors."""
    if estimate["passes"] is None:
        return MISSING
    significance = estimate["significance"]
    return "> 100 σ" if significance is None or significance > 100 else _signed(significance, 1) + " σ"


def counted(n: int, thing: str) -> str:
    """`1 thread`, `1,000 threads`."""
    return f"{n:,} {thing}{'s' * (n != 1)}"


def duration(seconds: float) -> str:
    """`45.2 s`, `12 min 5 s` or `3 h 20 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _exponent(value: float) -> int:
    return math.floor(math.log10(abs(value))) if value else 0


def _signed(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    if not text.startswith("-"):
        return text
    return "−" * (float(text) != 0) + text[1:]  # what rounds to zero has no sign
