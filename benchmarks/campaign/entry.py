"""What is measured: an entry, where and how it runs, and the figures that come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Setting:
    """Where and how an entry runs.

    Attributes:
        data: folder of data files.
        folder: of the entry; what is in it is gone on with.
        device: "cuda" or "cpu".
        dry: two steps on a few samples.
        minutes: of the entry; what is fitted may take 0.65 of them.
    """

    data: Path
    folder: Path
    device: str
    dry: bool
    minutes: float

    @property
    def fitting(self) -> float:
        return 0.65 * self.minutes


@dataclass(frozen=True)
class Figure:
    """A measured value; n, stderr and floor where it has them."""

    name: str
    value: float
    unit: str
    n: int | None = None
    stderr: float | None = None
    floor: float | None = None


@dataclass(frozen=True)
class Entry:
    """Something to measure.

    Attributes:
        name: unique.
        what: it measures.
        minutes: it may take, fits and judging together.
        files: data files that it needs.
        measure: takes the measurement.
    """

    name: str
    what: str
    minutes: float
    files: tuple[str, ...]
    measure: Callable[[Setting], Iterator[Figure]]

    def lacking(self, data: Path) -> list[str]:
        """Files that the folder of data does not have."""
        return [file for file in self.files if not (data / file).is_file()]
