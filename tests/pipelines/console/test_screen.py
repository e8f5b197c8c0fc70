"""What a verb shows where there is no terminal."""

import pytest
from maquette.pipelines.console import screen


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when a test says so."""
    now = [1000.0]
    monkeypatch.setattr(screen.time, "monotonic", lambda: now[0])
    return now


def test_a_log_has_two_lines_of_a_long_piece_of_work_and_none_of_a_short_one(clock, capsys):
    lines = screen.Lines()
    for done in range(1, 101):
        clock[0] += 0.05
        lines.progress("short", done, 100)
    assert capsys.readouterr().err == ""
    for done in range(1, 101):
        clock[0] += 1
        lines.progress("long", done, 100, "loss 1.5", 120.0)
    assert capsys.readouterr().err.splitlines() == ["long 10/100, loss 1.5, 2 min left", "long 100/100, loss 1.5"]
    clock[0] += 60  # heard of once, when it is over
    lines.progress("single", 1, 1)
    lines.progress("single", 1, 1)
    assert capsys.readouterr().err == "single 1/1\n"
