"""The conditions of showers: `condition.energy="5 GeV"`, `condition.particle=-11`, `condition.angle=0.1,0`."""

from __future__ import annotations

from ...data_specs.calorimeter.conditions import PARTICLES
from ..conditions import Condition

SHOWER_CONDITIONS = (
    Condition("energy", unit="MeV", log=True, factors={"mev": 1.0, "gev": 1e3, "tev": 1e6}),
    Condition("particle", values=PARTICLES),
    Condition("angle", unit="rad"),
)
"""In the order of `data_specs.calorimeter.conditions.CONDITIONS`."""
