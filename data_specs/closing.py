"""What must be closed, as a context manager."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Closing(ABC):
    """Base of readers and writers, which are closed at the end of a `with`.

    >>> class File(Closing):
    ...     def close(self):
    ...         print("closed")
    >>> with File():
    ...     print("open")
    open
    closed
    """

    @abstractmethod
    def close(self) -> None:
        """End the work on the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
