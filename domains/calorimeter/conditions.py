"""Conditions of showers from text: `condition.energy="5 GeV"`, `condition.particle=-11`, `condition.angle=0.1,0`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ...core.errors import ConfigError, did_you_mean
from ...core.spaces import Tree
from .codec.codec import ShowerCodec

_UNITS = {"mev": 1.0, "gev": 1e3, "tev": 1e6}


def parse_conditions(values: Mapping[str, str], n: int, codec: ShowerCodec) -> Tree:
    """Conditions (n, width) for a model, from their text by name.

    An energy is a number in MeV, or has a unit ("5 GeV").

    Raises:
        ConfigError: a condition the model does not have, one that is missing, text that is not a number, or a value
            outside the range of training.

    >>> from maquette.domains.calorimeter.codec.codec import ShowerCodecConfig
    >>> from maquette.domains.calorimeter.dataset import ShowerDataset
    >>> from maquette.domains.calorimeter.sample import sample_path
    >>> data = ShowerDataset(sample_path()).rows(0, 20)
    >>> codec = ShowerCodecConfig().build(data.description)
    >>> codec.fit(data)
    >>> parse_conditions({"energy": "5 GeV"}, 2, codec)
    {'energy': tensor([[5000.],
            [5000.]])}
    """
    for name in values:
        if name not in codec.conditions:
            known = list(codec.conditions)
            raise ConfigError(
                f"condition.{name}: the model has no such condition.{did_you_mean(name, known)} It has {known}."
            )
    for name in codec.conditions:
        if name not in values:
            raise ConfigError(f"condition.{name}: this model needs it as well; give condition.{name}=VALUE.")
    parsed = {name: _parse(name, values[name], width) for name, width in codec.conditions.items()}
    codec.accept(parsed)
    return {name: value.expand(n, -1).clone() for name, value in parsed.items()}


def _parse(name: str, text: str, width: int) -> Tensor:
    """Values (1, width) of a condition."""
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
