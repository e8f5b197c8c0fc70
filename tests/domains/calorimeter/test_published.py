"""Tables of published figures."""

import re

import numpy as np
import pytest
from maquette.core.statistics.estimate import Estimate
from maquette.domains.calorimeter.published import published


@pytest.mark.parametrize("name", ["ds1-photons", "ds1-pions", "ds2", "ds3"])
def test_published_rows_of_a_data_set(name: str) -> None:
    (table,) = published(name)
    assert table.rows[0][0] == "GEANT4"
    assert len(table.rows) > 10
    assert {len(row) for row in table.rows} == {len(table.columns)}
    parameters = [row[table.columns.index("parameters")] for row in table.rows]
    assert all(re.fullmatch(r"([1-9][\d,]*|0)(\.\d+)? M|", one) for one in parameters)
    assert len(set(parameters)) > 5
    assert not any("e+" in cell for row in table.rows for cell in row)
    assert "unit" in table.note
    for difference in ("three hidden layers of 512 in float64 (here two, in float32)", "has no occupancies as inputs"):
        assert difference in table.note


def test_own_figures_are_above_the_published_ones() -> None:
    own = {
        "auc_low": Estimate(0.61234, 0.01, 0.4951, 9, "", "lower", "x."),
        "r90": Estimate(1, 1, 1, 9, "", "floor", "x."),
    }
    own["kpd"] = Estimate(np.nan, np.nan, np.nan, 0, "", "lower", "x.")
    (table,) = published("ds2", own)
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [row["model"] for row in rows[:3]] == ["these showers", "their reference, half to half", "GEANT4"]
    assert [row["auc_low"] for row in rows[:2]] == ["0.6123", "0.4951"]
    assert [row["kpd"] for row in rows[:2]] == ["", ""]


def test_other_geometries_get_rows_that_say_so() -> None:
    (table,) = published("calogan")
    assert 'No data set of the challenge has the geometry "calogan"' in table.note
