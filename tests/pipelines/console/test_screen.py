"""What a verb shows where there is no terminal."""

import re

import pytest
from maquette.pipelines.console import screen


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when a test says so."""
    now = [1000.0]
    monkeypatch.setattr(screen.time, "monotonic", lambda: now[0])
    return now


def test_a_log_has_a_line_a_minute_of_long_work_and_none_of_short_work(clock, capsys):
    lines = screen.Lines()
    for done in range(1, 101):
        clock[0] += 0.05
        lines.progress("short", done, 100)
    assert capsys.readouterr().err == ""
    for done in range(1, 101):
        clock[0] += 1
        lines.progress("long", done, 100, "loss 1.5", 120.0)
    assert capsys.readouterr().err.splitlines() == [
        "long 10/100, loss 1.5, 2 min left",
        "long 70/100, loss 1.5, 2 min left",
        "long 100/100, loss 1.5",
    ]
    clock[0] += 60  # heard of once, when it is over
    lines.progress("single", 1, 1)
    lines.progress("single", 1, 1)
    assert capsys.readouterr().err == "single 1/1\n"


def test_a_terminal_shows_finished_work_once(monkeypatch, capsys):
    """A bar that stays is drawn again below every later one."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with screen.Terminal() as terminal:
        for what in ("fit layers", "fit voxels", "compare"):
            for done in range(1, 4):
                terminal.progress(what, done, 3, "loss 1.5")
    text = re.sub(r"\x1b\[[\d;?]*\w", "", capsys.readouterr().err)
    lines = [line for line in re.split(r"[\r\n]", text) if line.endswith("3/3, loss 1.5")]
    assert lines == ["fit layers 3/3, loss 1.5", "fit voxels 3/3, loss 1.5", "compare 3/3, loss 1.5"], text
    assert "━" not in text[text.index("compare 3/3") :]


ESCAPES = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\r"


@pytest.mark.parametrize("kind", [screen.Terminal, screen.Lines])
def test_what_controls_a_terminal_is_shown_and_not_sent(kind, capsys, clock):
    with kind() as shown:
        shown.say(ESCAPES)
        shown.warn(ESCAPES)
        shown.table(ESCAPES, ("a", "b"), [(ESCAPES, "1\n2")])
        shown.progress(ESCAPES, 0, 1, ESCAPES)
        clock[0] += 100
        shown.progress(ESCAPES, 1, 1, ESCAPES)
    streams = capsys.readouterr()
    assert not set("\x1b\x07\x9b\u202e\r") & set(streams.out + streams.err)
    assert streams.out.count(r"\x1b]0;owned\x07") == 3
    assert streams.err.count(r"\x1b]0;owned\x07") == 3
