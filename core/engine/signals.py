"""Signals by which a batch system asks a fit to end, SIGTERM and SIGUSR1.

In the training loop they set a flag (`Signals`), and the state is saved at the step's end. Around it, where all that
counts is on disk already, they end the work at once (`answered`).
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self

from ..errors import Interrupted

ASKED = (signal.SIGTERM, signal.SIGUSR1)


class Signals:
    """Notes SIGTERM and SIGUSR1 while it is entered; other threads than the main one cannot, and do not.

    A signal that the work within did not end by is passed on to the handler that was there before, if one was.
    """

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
        if error is None and callable(self._previous.get(self.received)):
            signal.raise_signal(self.received)


class _AskedToEnd(KeyboardInterrupt):
    """Unwinds like a stop from the keyboard: no `except Exception` on the way mistakes it for a failure."""


@contextmanager
def interruptible() -> Iterator[None]:
    """End the part of a fit within as soon as a signal comes; it may be killed at any moment, and then goes on.

    Raises:
        Interrupted: a signal came.
    """

    def end(number: int, frame: FrameType | None) -> None:
        for other in ASKED:
            signal.signal(other, signal.SIG_IGN)  # asking again must not disturb the leaving
        raise _AskedToEnd

    main = threading.current_thread() is threading.main_thread()
    previous = {number: signal.getsignal(number) for number in ASKED} if main else {}
    try:
        for number in previous:
            signal.signal(number, end)
        yield
    except _AskedToEnd:
        raise Interrupted("A signal ended the fit; what it had saved is kept: go on with --resume.") from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
