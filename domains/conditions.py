"""The conditions of samples: encoded for networks, limited to the range of training, drawn, and read from text.

A domain lists its conditions, each a `Condition`; a data set says which of them it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..core.errors import ConfigError, SpaceError, did_you_mean
from ..core.noise import Noise
from ..core.spaces import Levels, Product, Simple, Tree, Vector
from ..data_specs.errors import DataError

_KEPT = 4096  # conditions of training that are kept to draw from
_TOLERANCE = 0.01  # how far beyond the range of training a value may lie, relative to the range's larger end


@dataclass(frozen=True)
class Condition:
    """One condition that samples may have: real numbers, or one of some whole numbers.

    Attributes:
        name: in data, messages and `condition.NAME=VALUE`.
        unit: of its values; none if empty.
        log: whether networks see its standardised logarithm; otherwise its values as they are.
        values: the whole numbers that it can be; networks see the position in this list. Real numbers if empty.
        factors: of units that may follow a number in text, in lower case.

    >>> Condition("mass", unit="GeV", log=True, factors={"gev": 1.0, "tev": 1000.0}).unit
    'GeV'
    """

    name: str
    unit: str = ""
    log: bool = False
    values: tuple[int, ...] = ()
    factors: Mapping[str, float] = field(default_factory=dict)


class ConditionTable(nn.Module):
    """The conditions of a data set; scales, ranges and a sample of those in training are buffers.

    Args:
        known: the conditions of the domain, in the order of the table.
        widths: how many numbers a sample has of each condition that the data have.

    Attributes:
        widths: the same in the order of the table, whatever the order in which they were given.
        space: of encoded conditions.

    >>> known = Condition("mass", unit="GeV", log=True, factors={"tev": 1000.0}), Condition("spin", values=(0, 1, 2))
    >>> table = ConditionTable(known, {"spin": 1, "mass": 1})
    >>> table.fit(torch.tensor([[1000.0, 1], [2000.0, 1], [4000.0, 2]]))
    >>> table.encode({"mass": torch.tensor([[2000.0]]), "spin": torch.tensor([[2]])})
    {'mass': tensor([[0.]]), 'spin': tensor([[2]])}
    >>> table.parse({"mass": "1.5 TeV", "spin": "1"}, 2)["mass"].tolist()
    [[1500.0], [1500.0]]
    >>> table.accept({"mass": torch.tensor([[9000.0]]), "spin": torch.tensor([[1]])})
    Traceback (most recent call last):
    maquette.core.errors.ConfigError: condition.mass: the model was trained on 1000 .. 4000 GeV and cannot \
extrapolate; found 9000.
    """

    training_conditions: Tensor  # (4096, k): conditions of training samples, in order of the first
    condition_range: Tensor  # (2, k): smallest and largest value in training

    def __init__(self, known: Sequence[Condition], widths: Mapping[str, int]) -> None:
        super().__init__()
        self.conditions = [condition for condition in known if condition.name in widths]
        self.widths = {condition.name: widths[condition.name] for condition in self.conditions}
        total = sum(self.widths.values())
        self.space = Product(parts={condition.name: self._part(condition) for condition in self.conditions})
        # of all that are known, so that models of the domain have the same buffers
        for condition in known:
            if condition.log:  # mean and standard deviation of the logarithm
                width = widths.get(condition.name, 1)
                scale = torch.tensor([0.0, 1.0])
                self.register_buffer(
                    f"{condition.name}_scale", scale if width == 1 else scale[:, None].repeat(1, width)
                )
            if condition.values:  # which of them are in training
                self.register_buffer(_seen(condition), torch.zeros(len(condition.values), dtype=torch.bool))
        self.register_buffer("training_conditions", torch.zeros(_KEPT, total))
        self.register_buffer("condition_range", torch.zeros(2, total))

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={width}" for name, width in self.widths.items())

    def _part(self, condition: Condition) -> Simple:
        width = self.widths[condition.name]
        return Vector(dim=width, support=Levels(count=len(condition.values))) if condition.values else Vector(dim=width)

    def concatenate(self, condition: Tree | None) -> Tensor:
        """Conditions side by side, float32, (B, k)."""
        named = named_conditions(condition)
        return torch.cat([named[name].float() for name in self.widths], dim=1)

    def split(self, values: Tensor) -> dict[str, Tensor]:
        """Inverse of `concatenate`: (B, k) to tensors by name, whole numbers as int64."""
        parts = zip(self.conditions, values.split(list(self.widths.values()), dim=1), strict=True)
        return {condition.name: part.long() if condition.values else part for condition, part in parts}

    def fit(self, values: Tensor) -> None:
        """Keep scales, ranges and a sample of the training conditions (n, k), as `concatenate` returns them."""
        self.condition_range.copy_(torch.stack((values.amin(0), values.amax(0))))
        values = values[values[:, 0].argsort()]
        kept = torch.linspace(0, len(values) - 1, _KEPT, dtype=torch.float64).round().long()
        self.training_conditions.copy_(values[kept])
        parts = self.split(values)
        for condition in self.conditions:
            part = parts[condition.name]
            if condition.values:
                same = part[:, :, None] == torch.tensor(condition.values)
                self.get_buffer(_seen(condition)).copy_(same.flatten(0, 1).any(0))
            if condition.log:
                log = (part[:, 0] if part.shape[1] == 1 else part).double().log()
                scale = torch.stack((log.mean(0), log.std(0).clamp(min=1e-3)))
                self.get_buffer(f"{condition.name}_scale").copy_(scale)

    def encode(self, condition: Tree | None) -> dict[str, Tensor]:
        """Logarithms standardised, whole numbers (B, w) as positions in their `values`, others as they are.

        Raises:
            DataError: a whole number that is not among the `values`.
        """
        named, encoded = named_conditions(condition), {}
        for one in self.conditions:
            value = named[one.name]
            if one.log:
                mean, std = self.get_buffer(f"{one.name}_scale")
                value = (value.log() - mean) / std
            elif one.values:
                same = value[:, :, None] == torch.tensor(one.values, device=value.device)
                # an exported graph cannot raise: there an unknown number is encoded as the first one
                if not torch.compiler.is_exporting() and not same.any(-1).all():
                    raise DataError(f"Unknown {one.name} {value[~same.any(-1)][0].item()}; known: {one.values}.")
                value = same.long().argmax(-1)
            encoded[one.name] = value
        return encoded

    def accept(self, condition: Tree, *, where: str = "condition.", first: int = 0) -> dict[str, Tensor]:
        """Those of the given conditions that the model needs, if all lie within the range of training.

        Args:
            condition: physical values by name.
            where: prefix of a condition's name in messages.
            first: row number of the first value, for messages.

        Raises:
            ConfigError: a condition is missing, of the wrong shape, or outside the range of training.
        """
        named = named_conditions(condition)
        for name, width in self.widths.items():
            if name not in named:
                raise ConfigError(f"{where}{name}: the model needs this condition too, found {sorted(named)}.")
            if named[name].shape[1:] != (width,):
                found = tuple(named[name].shape[1:])
                raise ConfigError(f"{where}{name}: expected {width} values per sample, found the shape {found}.")
        ranges = self.condition_range.split(list(self.widths.values()), dim=1)
        for one, (low, high) in zip(self.conditions, ranges, strict=True):
            value = named[one.name].to(low.device)
            if one.values:
                seen = torch.tensor(one.values, device=value.device)[self.get_buffer(_seen(one))]
                inside, known = torch.isin(value, seen), f"the {_seen(one)} {seen.tolist()}"
            else:
                tolerance = _TOLERANCE * torch.maximum(low.abs(), high.abs())
                inside = (value >= low - tolerance) & (value <= high + tolerance)  # false for NaN
                known = " and ".join(f"{a:.6g} .. {b:.6g} {one.unit}".strip() for a, b in zip(low, high, strict=True))
            if not inside.all():
                row, column = (~inside).nonzero()[0].tolist()
                position = f" in row {first + row}" if len(value) > 1 else ""
                raise ConfigError(
                    f"{where}{one.name}: the model was trained on {known} and cannot extrapolate; found "
                    f"{value[row, column].item():.6g}{position}."
                )
        return {name: named[name] for name in self.widths}

    def draw(self, noise: Noise) -> dict[str, Tensor]:
        """Conditions drawn from those of training; the first, if it is one real number, between two neighbours."""
        kept = self.training_conditions
        position = noise.uniform("law") * (len(kept) - 1)
        low = position.floor().long().clamp(max=len(kept) - 2)
        drawn = kept[low]
        if self.widths[self.conditions[0].name] == 1 and not self.conditions[0].values:
            between = torch.lerp(drawn[:, :1], kept[low + 1, :1], (position - low)[:, None])
            drawn = torch.cat((between, drawn[:, 1:]), dim=1)
        return self.split(drawn)

    def parse(self, texts: Mapping[str, str], n: int) -> dict[str, Tensor]:
        """Conditions (n, width) that all samples share, from text by name: numbers a,b,..., with or without a unit.

        Raises:
            ConfigError: a condition that the model does not have, one that is missing, text that is not a number, or a
                value outside the range of training.
        """
        known = list(self.widths)
        for name in texts:
            if name not in self.widths:
                raise ConfigError(
                    f"condition.{name}: the model has no such condition.{did_you_mean(name, known)} It has {known}."
                )
        for name in known:
            if name not in texts:
                raise ConfigError(f"condition.{name}: this model needs it as well; give condition.{name}=VALUE.")
        parsed = {one.name: _parse(one, texts[one.name], self.widths[one.name]) for one in self.conditions}
        self.accept(parsed)
        return {name: value.expand(n, -1).clone() for name, value in parsed.items()}


def named_conditions(condition: Tree | None) -> dict[str, Tensor]:
    """The conditions by name; raises `SpaceError` if there are none, or a single tensor.

    >>> named_conditions({"energy": torch.tensor([[5000.0]])})["energy"].shape
    torch.Size([1, 1])
    """
    if isinstance(condition, dict):
        return condition
    found = "none" if condition is None else f"one tensor of shape {tuple(condition.shape)}"
    raise SpaceError(f"Expected conditions by name, each (B, width); found {found}.")


def _seen(condition: Condition) -> str:
    """What the values are called in messages, and the buffer that says which of them are in training."""
    return f"{condition.name}s"


def _parse(condition: Condition, text: str, width: int) -> Tensor:
    """Values (1, width) of a condition."""
    words = text.split(",")
    where = f"condition.{condition.name}"
    if len(words) != width:
        raise ConfigError(f"{where}: expected {width} numbers (a,b,...), found {text!r}.")
    if condition.values:
        try:
            return torch.tensor([[int(word) for word in words]])
        except ValueError:
            known = ", ".join(map(str, condition.values))
            raise ConfigError(f"{where}: expected a whole number of {known}; found {text!r}.") from None
    return torch.tensor([[_number(where, word, condition.factors) for word in words]])


def _number(where: str, word: str, factors: Mapping[str, float]) -> float:
    number = word.strip().lower()
    unit = next((unit for unit in factors if number.endswith(unit)), "")
    try:
        return factors.get(unit, 1.0) * float(number.removesuffix(unit))
    except ValueError:
        raise ConfigError(f"{where}: expected a number, found {word!r}.") from None
