"""The effort of an evaluation of showers: sample sizes and epochs."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from ...judging.effort import QUICK, SMOKE, EffortConfig


class ShowerEffort(EffortConfig):
    """Sizes of an evaluation of showers; the defaults are those of the metrics' sources.

    >>> ShowerEffort(epochs=3).epochs, EFFORTS["smoke"].showers
    (3, 2000)
    """

    showers: int = Field(default=200_000, ge=40, description="showers read from each file, at most")
    voxels: int = Field(default=1 << 28, ge=1, description="voxels a side in the low-level classifier test, at most")


EFFORTS: Mapping[str, ShowerEffort] = {
    "full": ShowerEffort(),
    "quick": ShowerEffort.model_validate({**QUICK, "showers": 20_000, "voxels": 1 << 22}),
    "smoke": ShowerEffort.model_validate({**SMOKE, "showers": 2_000, "voxels": 1 << 20}),
}
