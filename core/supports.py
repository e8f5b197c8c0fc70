"""Supports: the values that a scalar can take."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, model_validator
from pydantic import Field as Described
from torch import Tensor

_ROUNDING = torch.finfo(torch.float32).eps  # most data were float32 once, whatever they are converted to


class Frozen(BaseModel):
    """A description that does not change; unknown keys are refused.

    >>> isinstance(Real(), Frozen)
    True
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


class Real(Frozen):
    """The whole real line."""

    kind: Literal["real"] = "real"


class Complex(Frozen):
    """The complex plane; tensors are complex. Families take real features: a codec gives them two channels for each.

    >>> from maquette.core.spaces import Vector
    >>> from maquette.core.values import check_values
    >>> check_values(Vector(dim=1, support=Complex()), torch.tensor([[1 + 2j]]))
    """

    kind: Literal["complex"] = "complex"


class Interval(Frozen):
    """The closed interval [low, high]."""

    kind: Literal["interval"] = "interval"
    low: float = Described(default=0.0, allow_inf_nan=False)
    high: float = Described(default=1.0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low < self.high:
            raise ValueError(
                f"expected an interval whose low end lies below the high one, found [{self.low}, {self.high}]"
            )
        return self


class Torus(Frozen):
    """A circle of the given period: x and x + period are the same point."""

    kind: Literal["torus"] = "torus"
    period: float = Described(default=2 * math.pi, gt=0, allow_inf_nan=False)


class Levels(Frozen):
    """The integers 0 .. count - 1."""

    kind: Literal["levels"] = "levels"
    count: int = Described(ge=1)


class Binary(Frozen):
    """Zero or one."""

    kind: Literal["binary"] = "binary"


Support = Annotated[Real | Complex | Interval | Torus | Levels | Binary, Described(discriminator="kind")]


def outside(support: Support, value: Tensor) -> tuple[str, Tensor]:
    """What values must be, in words, and a mask of those that are not.

    >>> outside(Levels(count=3), torch.tensor([0, 3]))
    ('integer levels 0 .. 2', tensor([False,  True]))
    """
    match support:
        case Levels(count=count):
            return f"integer levels 0 .. {count - 1}", (value < 0) | (value > count - 1) | (value != value.long())
        case Binary():
            return "zeros and ones", (value != 0) & (value != 1)
        case Interval(low=low, high=high):
            slack = 4 * _ROUNDING * max(abs(low), abs(high))
            return f"values in [{low:g}, {high:g}]", (value < low - slack) | (value > high + slack)
        case _:
            return "any", torch.zeros_like(value, dtype=torch.bool)
