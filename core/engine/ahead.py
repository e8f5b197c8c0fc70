"""A function whose next call is made in a thread before anyone asks for it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, Self, TypeVar

import torch

K = TypeVar("K")
V = TypeVar("V")


def one_thread(device: torch.device | str = "cpu") -> ThreadPoolExecutor:
    """A thread for work beside the training step: it computes on one core, and on the GPU of the thread that starts it.

    >>> with one_thread() as thread:
    ...     thread.submit(torch.get_num_threads).result()
    1
    """
    cores = torch.get_num_threads()
    current = torch.cuda.current_device() if torch.device(device).type == "cuda" else None

    def begin() -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()  # settles it: torch would ask for the latest number when the thread first computes
        if current is not None:
            torch.cuda.set_device(current)

    thread = ThreadPoolExecutor(1, thread_name_prefix="beside the training step")
    thread.submit(begin).result()
    torch.set_num_threads(cores)  # which threads that start later take
    return thread


class Ahead(Generic[K, V]):
    """Calls a function in a thread, one call ahead of those who ask; a context manager, which ends the thread.

    All calls are made one after another. An error is raised where the value of its key is asked for. A key that was not
    expected costs a call and changes nothing.

    Args:
        function: key to its value and the key that is asked for next, None if that is not known.
        device: on which the function computes.

    >>> with Ahead(lambda n: (10 * n, n + 1)) as ahead:
    ...     ahead.get(3), ahead.get(4), ahead.get(9)  # 4 was called for ahead of time, and 5, too
    (30, 40, 90)
    """

    def __init__(self, function: Callable[[K], tuple[V, K | None]], device: torch.device | str = "cpu") -> None:
        self.function = function
        self._thread = one_thread(device)
        self._next: tuple[K, Future[tuple[V, K | None]]] | None = None

    def get(self, key: K) -> V:
        """The value of a key; begins the call for the next one."""
        if self._next is not None and self._next[0] == key:
            future, self._next = self._next[1], None
        else:
            future = self._thread.submit(self.function, key)
        value, following = future.result()
        if following is not None and (self._next is None or self._next[0] != following):
            self._next = following, self._thread.submit(self.function, following)
        return value

    def settle(self) -> None:
        """Wait until nothing is being called, so that others may use what the function uses."""
        if self._next is not None:
            wait([self._next[1]])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._thread.shutdown(cancel_futures=True)
