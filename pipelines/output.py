"""What commands print at their end: where things are, and how to look at them in MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .console.screen import Lines, Screen, Silent, Terminal
    from .streaming import Generated


def open_screen() -> Terminal | Lines | Silent:
    """The screen of this process, whose module is imported when a command runs.

    >>> with open_screen() as screen:
    ...     screen.say("done")
    done
    """
    from .console.screen import screen

    return screen()


def print_made(screen: Screen, done: Generated) -> None:
    """How fast a file of samples was made, and where it is.

    >>> from maquette.pipelines.streaming import Generated, Throughput
    >>> with open_screen() as screen:
    ...     print_made(screen, Generated(Path("x.h5"), 1000, Throughput(1000, sampling=1.5, writing=0.5)))
    1,000 samples in 2.0 s: 500 samples/s (75% sampling, 25% writing)
    file: x.h5 (1,000 samples)
    """
    screen.say(str(done.throughput))
    screen.say(f"file: {done.file} ({done.n:,} samples)")


def print_place(screen: Screen, what: str, folder: Path, store: str | None) -> None:
    """A folder, and how to open the MLflow store that has it, if one does.

    >>> with open_screen() as screen:
    ...     print_place(screen, "run", Path("runs/a"), "https://mlflow.example.org")
    run: runs/a
    MLflow: https://mlflow.example.org
    """
    from .mlflow.store import how_to_open

    screen.say(f"{what}: {folder}")
    if store:
        screen.say(f"MLflow: {how_to_open(store)}")


def print_run(screen: Screen, folder: Path) -> None:
    """The folder of a run, and the MLflow store that it is logged in.

    >>> with open_screen() as screen:
    ...     print_run(screen, Path("runs/a"))
    run: runs/a
    """
    from .mlflow.store import read_tracking
    from .run.folder import Run

    tracking = read_tracking(Run(folder))
    print_place(screen, "run", folder, tracking.uri if tracking else None)
