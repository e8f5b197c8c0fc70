"""Conditions of showers from words: `condition.energy="5 GeV"`, `condition.particle=-11`, `condition.angle=0.1,0`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ...core.errors import ConfigError, did_you_mean
from ...core.spaces import Tree
from .codec.codec import ShowerCodec

_UNITS = {"mev": 1.0, "gev": 1e3, "tev": 1e6}


def parse_conditions(values: Mapping[str, str], n: int, codec: ShowerCodec) -> Tree:
    """Conditions (n, width) for a model.

    An energy is a number in MeV, or with a unit ("5 GeV").

    Raises:
        ConfigError: a condition the model does not have, one it needs and was not given, a word that is no number,
            or values beyond those of the training data.
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
    one = {name: _row(name, values[name], width) for name, width in codec.conditions.items()}
    codec.accept(one)
    return {name: row.expand(n, -1).clone() for name, row in one.items()}


def _row(name: str, text: str, width: int) -> Tensor:
    """The numbers (1, width) that a word stands for."""
    if name == "particle":
        try:
            return torch.tensor([[int(text)]])
        except ValueError:
            raise ConfigError(f"condition.particle: expected a PDG number, found {text!r}.") from None
    unit = 1.0
    if name == "energy":
        word = text.strip().lower()
        suffix = next((suffix for suffix in _UNITS if word.endswith(suffix)), "")
        text, unit = word.removesuffix(suffix), _UNITS.get(suffix, 1.0)
    numbers = [_number(f"condition.{name}", part) for part in text.split(",")]
    if len(numbers) != width:
        raise ConfigError(f"condition.{name}: expected {width} numbers (a,b,...), found {text!r}.")
    return unit * torch.tensor([numbers])


def _number(where: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{where}: expected a number, found {text!r}.") from None
