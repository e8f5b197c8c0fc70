"""Seeds that every verb takes: what all parts, file attributes and other libraries' generators among them, can hold."""

from __future__ import annotations

from operator import index
from typing import Any

from ..core.errors import ConfigError

LARGEST_SEED = 2**31 - 1


def check_seed(seed: Any) -> int:
    """The seed as a whole number; raises `ConfigError` for anything but one from 0 to `LARGEST_SEED`."""
    try:
        number = index(seed)
    except TypeError:
        number = -1
    if not 0 <= number <= LARGEST_SEED:
        raise ConfigError(f"seed: expected a whole number from 0 to {LARGEST_SEED}, found {seed!r}.")
    return number
