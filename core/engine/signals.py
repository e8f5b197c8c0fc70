"""Signals by which a batch system ends a fit: SIGTERM and SIGUSR1.

In the training loop they set a flag (`Signals`), and the state is saved at the end of the step. Outside of the loop,
where everything needed is on disk already, they end the work at once (`interruptible`).
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
    """Records SIGTERM and SIGUSR1 while it is entered; only the main thread can.

    If the work inside ends without handling a signal, the signal goes to the handler that was installed before.
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
    """Not caught by `except Exception`, like a keyboard interrupt."""


@contextmanager
def interruptible() -> Iterator[None]:
    """End the work inside as soon as a signal comes; for work that can be killed at any moment and resumed.

    Raises:
        Interrupted: a signal came.
    """

    def end(number: int, frame: FrameType | None) -> None:
        for other in ASKED:
            signal.signal(other, signal.SIG_IGN)  # a second signal must not interrupt the clean-up
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
