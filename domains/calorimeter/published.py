"""Published figures of other models: the final tables of the CaloChallenge 2022."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from ...core.statistics.estimate import Estimate
from ..plugin import Published, ReferenceCost

DATA_SETS = {"ds1-photons": "ds1_photons", "ds1-pions": "ds1_pions", "ds2": "ds2", "ds3": "ds3"}
"""The challenge's data set by the name of the geometry."""
NEAREST = "ds2"
"""Its table is shown for geometries without one: electrons in a sampling calorimeter."""
COLUMNS = {
    "model": "model",
    "parameters": "parameters",
    "auc_low": "auc_low",
    "auc_high": "auc_high",
    "auc_cnn": "auc_cnn",
    "fpd": "fpd_x1000",
    "kpd": "kpd_x1000",
    "separation_layer_energy": "separation_layer_energy",
    "separation_total_energy": "separation_total_energy",
    "separation_sparsity": "separation_sparsity",
    "CPU, batch 1 [ms/shower]": "time_cpu_batch1",
    "CPU, batch 100 [ms/shower]": "time_cpu_batch100",
    "GPU, batch 100 [ms/shower]": "time_gpu_batch100",
}
NOTE = (
    "Krause et al., CaloChallenge 2022, arXiv:2410.21611. {match} Their AUCs come from a slightly stronger test than "
    "auc_low and auc_high here: a network with three hidden layers of 512 in float64 (here two, in float32) and far "
    "more showers a side; split, optimiser, epochs and the choice of the best epoch are the same. Their high-level "
    "network has no occupancies as inputs, this one does. FPD and KPD (x 1000) follow the same definitions on another "
    "choice of features; separation powers are of other binnings and larger samples. Showers come from Geant4 with a "
    "full physics list, at 1 GeV to 1 TeV (ds1: 256 MeV to 4 TeV). GEANT4, like the second row, is real against real. "
    "The source gives no unit of the sampling times: read as ms per shower at the batch size, on its own hardware."
)
SAME = "Same voxels as these showers, other showers."
OTHER = 'No data set of the challenge has the geometry "{name}"; its ds2 is shown for orders of magnitude only.'


@cache
def _results() -> Sequence[Mapping[str, str]]:
    text = (Path(__file__).with_name("data") / "calochallenge_results.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


REFERENCE_COSTS = {"calogan": ReferenceCost("Geant4 11.4 with a reduced electromagnetic physics list", 0.022)}
"""The cost of full transport, by geometry; showers of 1 .. 10 GeV (log-uniform)."""
OWN = ("these showers", "their reference, half to half")


def published(geometry: str, estimates: Mapping[str, Estimate] | None = None) -> tuple[Published, ...]:
    """Published figures for a geometry, best low-level AUC first.

    Args:
        geometry: its name.
        estimates: of one's own showers; their values and floors become the first two rows.

    >>> (table,) = published("ds2")
    >>> table.title, table.rows[0][0]
    ('CaloChallenge 2022, ds2', 'GEANT4')
    """
    known = geometry in DATA_SETS
    data_set = DATA_SETS.get(geometry, DATA_SETS[NEAREST])
    rows = [row for row in _results() if row["dataset"] == data_set]
    rows.sort(key=lambda row: (row["model"] != "GEANT4", float(row["auc_low"] or "inf")))
    return (
        Published(
            title=f"CaloChallenge 2022, {data_set}",
            columns=tuple(COLUMNS),
            rows=(*_own(estimates or {}), *(tuple(_cell(row, source) for source in COLUMNS.values()) for row in rows)),
            note=NOTE.format(match=SAME if known else OTHER.format(name=geometry)),
        ),
    )


def _cell(row: Mapping[str, str], source: str) -> str:
    """The source's text, large numbers without powers of ten; parameters in millions, to three digits."""
    if source == "parameters" and row[source]:
        return f"{float(f'{float(row[source]) / 1e6:.3g}'):,.10g} M"
    return f"{float(row[source]):,.0f}" if "e+" in row[source] else row[source]


def _own(estimates: Mapping[str, Estimate]) -> list[tuple[str, ...]]:
    """One's own figures in the table's columns, then their floors; none without estimates."""
    found = {name: (estimate.value, estimate.floor) for name, estimate in estimates.items() if name in COLUMNS}

    def cell(name: str, which: int) -> str:
        return f"{found[name][which]:.4g}" if name in found and math.isfinite(found[name][which]) else ""

    return [(who, *(cell(name, k) for name in list(COLUMNS)[1:])) for k, who in enumerate(OWN) if found]
