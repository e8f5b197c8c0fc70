"""Speed and time left of a stage."""

import pytest
import torch
from maquette.core.engine import pace


def test_pace_counts_samples_since_the_last_row_and_ends_with_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(pace.time, "monotonic", lambda: now)
    measured = pace.Pace(10, 30, torch.device("cpu"), seconds=50.0)
    measured.add("critic", 40)
    measured.add("critic", 40)
    now = 104.0
    figures = measured.measure("critic", 12)
    assert (figures["samples_per_second"], figures["seconds_left"]) == (20.0, 36.0)  # 18 steps of 2 seconds
    measured.add("critic", 10)
    now = 105.0
    assert measured.measure("critic", 12)["samples_per_second"] == 10.0
    now = 140.0
    assert measured.measure("critic", 12)["seconds_left"] == 10.0  # of the budget
