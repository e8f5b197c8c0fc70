"""The effort of an evaluation: sample sizes and epochs. The definitions of the metrics do not depend on it."""

from __future__ import annotations

from pydantic import Field

from ....core.config import Config
from ....core.errors import ConfigError, did_you_mean


class EffortConfig(Config):
    """Sizes of an evaluation. The defaults are those of the metrics' sources.

    >>> EffortConfig(epochs=3).epochs, effort_named("smoke").showers
    (3, 2000)
    """

    showers: int = Field(default=200_000, ge=40, description="showers read from each file, at most")
    classifier: int = Field(default=20_000, ge=20, description="showers a side in each classifier test, at most")
    voxels: int = Field(default=1 << 28, ge=1, description="voxels a side in the low-level classifier test, at most")
    epochs: int = Field(default=50, ge=1, description="training epochs of the network classifiers")
    trees: int = Field(default=200, ge=1, description="boosting iterations of the tree classifier, at most")
    cross_validate_below: int = Field(
        default=5_000, ge=0, description="use all five folds below this many showers a side"
    )
    frechet_points: int = Field(default=10, ge=2, description="sample sizes of the Frechet extrapolation")
    frechet_batches: int = Field(default=20, ge=2, description="batches at each of those sizes")
    kernel_batches: int = Field(default=10, ge=1, description="batches of 5,000 in the kernel distance")
    neighbours: int = Field(default=4_000, ge=20, description="showers a side in the memorisation check, at most")
    training: int = Field(default=50_000, ge=1, description="training showers in the memorisation check, at most")


EFFORTS = {
    "full": EffortConfig(),
    "quick": EffortConfig(
        showers=20_000,
        classifier=4_000,
        voxels=1 << 22,
        epochs=15,
        trees=100,
        cross_validate_below=0,
        frechet_points=5,
        frechet_batches=8,
        kernel_batches=2,
        neighbours=1_000,
        training=20_000,
    ),
    "smoke": EffortConfig(
        showers=2_000,
        classifier=500,
        voxels=1 << 20,
        epochs=3,
        trees=10,
        cross_validate_below=0,
        frechet_points=3,
        frechet_batches=2,
        kernel_batches=1,
        neighbours=200,
        training=5_000,
    ),
}


def effort_named(name: str) -> EffortConfig:
    """The sizes of that name; raises `ConfigError`."""
    if name not in EFFORTS:
        known = ", ".join(EFFORTS)
        raise ConfigError(f'There is no effort called "{name}".{did_you_mean(name, EFFORTS)} Known: {known}.')
    return EFFORTS[name]
