"""Signals by which a batch system asks a fit to end: they set a flag, and the state is saved at the step's end."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Self

ASKED = (signal.SIGTERM, signal.SIGUSR1)


class Signals:
    """Notes SIGTERM and SIGUSR1 while it is entered; other threads than the main one cannot, and do not."""

    def __init__(self) -> None:
        self.received: int = 0
        self._previous: dict[int, object] = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in ASKED}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
