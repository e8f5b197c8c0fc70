"""Signals by which a batch system ends a fit, SIGTERM and SIGUSR1, and SIGINT, by which a user does.

In the training loop they set a flag (`Signals`), and the state is saved at the end of the step; a second SIGINT, from
Ctrl-C, ends the work at once. Outside of the loop all that a resume needs is on disk already, and those of a batch
system end the work at once (`interruptible`), as SIGINT always does.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

from ..errors import Interrupted

TERMINATING = (signal.SIGTERM, signal.SIGUSR1)

_Handler = Callable[[int, FrameType | None], Any] | int | None
"""What `signal.signal` takes and returns."""


class Signals:
    """A context that records SIGTERM, SIGUSR1 and SIGINT; in other threads than the main one it records nothing.

    If the work inside ends without raising an error, a signal that came goes to the handler that was installed before.

    >>> with interruptible(), Signals() as signals:
    ...     signal.raise_signal(signal.SIGTERM)
    ...     print("the step goes on")
    Traceback (most recent call last):
    maquette.core.errors.Interrupted: A signal ended the fit; what it had saved is kept: go on with --resume.
    """

    def __init__(self) -> None:
        self.received: int = 0
        self._previous: dict[int, _Handler] = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT == self.received:
            raise KeyboardInterrupt
        self.received = number

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in (*TERMINATING, signal.SIGINT)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if error is None and callable(self._previous.get(self.received)):
            signal.raise_signal(self.received)


class _Terminated(KeyboardInterrupt):
    """Not caught by `except Exception`, like a keyboard interrupt."""


@contextmanager
def interruptible() -> Iterator[None]:
    """End the work inside as soon as a signal comes; for work that can be killed at any moment and resumed.

    Raises:
        Interrupted: a signal came.

    >>> with interruptible():
    ...     signal.raise_signal(signal.SIGTERM)
    Traceback (most recent call last):
    maquette.core.errors.Interrupted: A signal ended the fit; what it had saved is kept: go on with --resume.
    """

    def end(number: int, frame: FrameType | None) -> None:
        for other in TERMINATING:
            signal.signal(other, signal.SIG_IGN)  # a second signal must not interrupt the clean-up
        raise _Terminated

    main = threading.current_thread() is threading.main_thread()
    previous = {number: signal.getsignal(number) for number in TERMINATING} if main else {}
    try:
        for number in previous:
            signal.signal(number, end)
        yield
    except _Terminated:
        raise Interrupted("A signal ended the fit; what it had saved is kept: go on with --resume.") from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
