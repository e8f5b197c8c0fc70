"""Conditions of showers from words: `condition.energy="5 GeV"`, `condition.particle=-11`, `condition.angle=0.1,0`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ...core.errors import ConfigError, did_you_mean
from .codec.codec import PARTICLES, ShowerCodec

_UNITS = {"mev": 1.0, "gev": 1e3, "tev": 1e6}
_SLACK = 1.01  # how far beyond the training energies is still called inside


def parse_conditions(values: Mapping[str, str], n: int, codec: ShowerCodec) -> dict[str, Tensor]:
    """Conditions (n, width) for a model.

    An energy is a number in MeV, or with a unit ("5 GeV").

    Raises:
        ConfigError: a condition the model does not have, one it needs and was not given, a word that is no number,
            or energies beyond those of the training data.
    """
    for name in values:
        if name not in codec.conditions:
            known = list(codec.conditions)
            raise ConfigError(
                f"condition.{name}: the model has no such condition.{did_you_mean(name, known)} It has {known}."
            )
    for name in codec.conditions:
        if name not in values:
            raise ConfigError(f"condition.{name}: this model needs it as well, such as condition.{name}=VALUE.")
    return {name: _column(name, values[name], n, codec) for name in codec.conditions}


def _column(name: str, text: str, n: int, codec: ShowerCodec) -> Tensor:
    if name == "energy":
        return torch.full((n, 1), _energy(text, codec))
    if name == "particle":
        if text.strip().lstrip("+-").isdigit() and int(text) in PARTICLES:
            return torch.full((n, 1), int(text))
        raise ConfigError(f"condition.particle: expected a PDG number of {list(PARTICLES)}, found {text!r}.")
    parts = [_number(f"condition.{name}", part) for part in text.split(",")]
    if len(parts) != codec.conditions[name]:
        raise ConfigError(f"condition.{name}: expected {codec.conditions[name]} numbers (a,b,...), found {text!r}.")
    return torch.tensor(parts).expand(n, -1).clone()


def _energy(text: str, codec: ShowerCodec) -> float:
    word = text.strip().lower()
    unit = next((unit for unit in _UNITS if word.endswith(unit)), "")
    value = _number("condition.energy", word.removesuffix(unit)) * _UNITS.get(unit, 1.0)
    seen = codec.law[:, 0]
    low, high = seen.min().item(), seen.max().item()
    if not low / _SLACK <= value <= high * _SLACK:
        raise ConfigError(
            f"condition.energy: the model was trained on {low:.6g} .. {high:.6g} MeV and knows nothing beyond; "
            f"found {text!r}."
        )
    return value


def _number(where: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{where}: expected a number, found {text!r}.") from None
