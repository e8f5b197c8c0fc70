"""Where a verb prints: on a terminal with progress bars, as plain lines to a log, or nowhere.

Results go to standard output; progress and warnings go to standard error.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from .numbers import time_left
from .text import printable

SECONDS_OF_SILENCE = 10.0  # shorter work is not mentioned in a log
SECONDS_BETWEEN_LINES = 60.0  # of longer work in a log
LOG_WIDTH = 200  # columns, so that what can be copied from a log is not folded


class Screen(Protocol):
    """What a verb can print to."""

    def say(self, text: str) -> None:
        """A line of result."""
        ...

    def warn(self, text: str) -> None:
        """A line about something that went wrong without ending the verb."""
        ...

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table of results."""
        ...

    def progress(self, what: str, done: int, total: int, note: str = "", seconds_left: float | None = None) -> None:
        """How far a piece of work is.

        Args:
            what: its name.
            done: steps done.
            total: all its steps.
            note: short figures, such as a loss or a rate.
            seconds_left: expected until its end, if the caller knows better than from `done` and `total`.
        """
        ...


class Silent:
    """Prints nothing: for Python callers, and for all ranks but the first.

    >>> Silent().say("nobody reads this")
    """

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        pass

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        pass

    def progress(self, what: str, done: int, total: int, note: str = "", seconds_left: float | None = None) -> None:
        pass


class _Printing:
    """What a terminal and a log have in common.

    Texts may come from files of strangers, so characters that control a terminal are shown and not sent.
    """

    def __init__(self, width: int | None = None) -> None:
        self.out = Console(highlight=False, width=width)
        self.err = Console(highlight=False, width=width, stderr=True)

    def say(self, text: str) -> None:
        self.out.print(printable(text), markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        self.err.print(f"warning: {printable(text)}", markup=False, soft_wrap=True, style="yellow")

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        table = Table(box=None, pad_edge=False)
        for position, column in enumerate(columns):
            table.add_column(Text(column), overflow="fold", no_wrap=position == 0)
        for row in rows:
            table.add_row(*(Text(printable(str(cell))) for cell in row))
        self.out.print(printable(title), style="bold", markup=False, soft_wrap=True)
        self.out.print(table)


class Terminal(_Printing):
    """A progress bar for each piece of work; one that is done becomes a plain line.

    >>> with Terminal() as shown:
    ...     shown.table("models", ("name", "auc"), [("spline", "0.52")])
    models
    name    auc
    spline  0.52
    """

    def __init__(self) -> None:
        super().__init__()
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            TextColumn("{task.fields[note]}", markup=False),
            console=self.err,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def progress(self, what: str, done: int, total: int, note: str = "", seconds_left: float | None = None) -> None:
        if what not in self._tasks:
            self._bars.start()
            self._tasks[what] = self._bars.add_task(printable(what), total=total, note="", left="")
        task = self._bars.tasks[self._bars.task_ids.index(self._tasks[what])]
        left = task.time_remaining if seconds_left is None else seconds_left
        shown = "" if left is None else time_left(left)
        self._bars.update(task.id, completed=done, total=total, note=printable(note), left=shown)
        if done >= total:
            self._bars.remove_task(self._tasks.pop(what))
            self._bars.refresh()  # before the line, which would be followed by the bar once more
            self.err.print(_line(what, done, total, note), markup=False, soft_wrap=True)
        if not self._tasks:
            self._bars.stop()


class Lines(_Printing):
    """Plain lines for a piece of work that takes over ten seconds: after that time, every minute, and at its end.

    >>> with Lines() as shown:
    ...     shown.say("done")
    ...     shown.progress("fit", 10, 10)  # was too short to be mentioned
    done
    """

    def __init__(self) -> None:
        super().__init__(width=LOG_WIDTH)
        self._last = time.monotonic()
        self._begun: dict[str, float] = {}
        self._printed: dict[str, float] = {}

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def progress(self, what: str, done: int, total: int, note: str = "", seconds_left: float | None = None) -> None:
        now = time.monotonic()
        # a piece of work begins at the last call before its first, because many call only after their first part
        begun, self._last, ended = self._begun.setdefault(what, self._last), now, done >= total
        due = self._printed[what] + SECONDS_BETWEEN_LINES if what in self._printed else begun + SECONDS_OF_SILENCE
        if now >= due or (ended and now - begun >= SECONDS_OF_SILENCE):
            self._printed[what] = now
            left = "" if ended or seconds_left is None else time_left(seconds_left)
            self.err.print(_line(what, done, total, note, left), markup=False, soft_wrap=True)
        if ended:  # the same name may come again for other work
            self._begun.pop(what)
            self._printed.pop(what, None)


def _line(what: str, done: int, total: int, *notes: str) -> str:
    return printable(", ".join(part for part in (f"{what} {done}/{total}", *notes) if part))


def screen() -> Terminal | Lines | Silent:
    """The screen of this process: bars if standard error is a terminal, else lines; only the first rank prints.

    >>> isinstance(screen(), Terminal | Lines | Silent)
    True
    """
    if os.environ.get("RANK", "0") != "0":
        return Silent()
    return Terminal() if sys.stderr.isatty() else Lines()
