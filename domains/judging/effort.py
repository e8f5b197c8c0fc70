"""The effort of an evaluation: sample sizes and epochs. The definitions of the metrics do not depend on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import Field

from ...core.config import Config
from ...core.errors import ConfigError, did_you_mean


class EffortConfig(Config):
    """Sizes of the metrics that domains share; the defaults are those of the metrics' sources.

    A domain derives its own, with the sizes of its other metrics.

    >>> EffortConfig(epochs=3).epochs, QUICK["epochs"], SMOKE["epochs"]
    (3, 15, 3)
    """

    classifier: int = Field(default=20_000, ge=20, description="samples a side in each classifier test, at most")
    epochs: int = Field(default=50, ge=1, description="training epochs of the network classifiers")
    trees: int = Field(default=200, ge=1, description="boosting iterations of the tree classifier, at most")
    cross_validate_below: int = Field(
        default=5_000, ge=0, description="use all five folds below this many samples a side"
    )
    frechet_points: int = Field(default=10, ge=2, description="sample sizes of the Frechet extrapolation")
    frechet_batches: int = Field(default=20, ge=2, description="batches at each of those sizes")
    kernel_batches: int = Field(default=10, ge=1, description="batches of 5,000 in the kernel distance")
    neighbours: int = Field(default=4_000, ge=20, description="samples a side in the memorisation check, at most")
    training: int = Field(default=50_000, ge=1, description="training samples in the memorisation check, at most")


QUICK: Mapping[str, int] = {
    "classifier": 4_000,
    "epochs": 15,
    "trees": 100,
    "cross_validate_below": 0,
    "frechet_points": 5,
    "frechet_batches": 8,
    "kernel_batches": 2,
    "neighbours": 1_000,
    "training": 20_000,
}
"""Sizes of a look on two cores."""
SMOKE: Mapping[str, int] = {
    "classifier": 500,
    "epochs": 3,
    "trees": 10,
    "cross_validate_below": 0,
    "frechet_points": 3,
    "frechet_batches": 2,
    "kernel_batches": 1,
    "neighbours": 200,
    "training": 5_000,
}
"""Sizes of tests."""

E = TypeVar("E", bound=EffortConfig)


def effort_named(name: str, efforts: Mapping[str, E]) -> E:
    """The sizes of that name among those of a domain; raises `ConfigError`.

    >>> effort_named("smoke", {"full": EffortConfig(), "smoke": EffortConfig(**SMOKE)}).trees
    10
    """
    if name not in efforts:
        known = ", ".join(efforts)
        raise ConfigError(f'There is no effort called "{name}".{did_you_mean(name, efforts)} Known: {known}.')
    return efforts[name]
